namespace TransferEngine.Benchmarks;

/// <summary>A published experiment that can be run again: tasks, methods with their recipes, and what was published.</summary>
internal abstract class Experiment
{
    /// <summary>What the command line calls it.</summary>
    public abstract string Name { get; }

    /// <summary>A title for its page.</summary>
    public abstract string Title { get; }

    /// <summary>The protocol, in Markdown: data, preprocessing, what is measured, where the published numbers are from.</summary>
    public abstract string Protocol { get; }

    /// <summary>The tasks, in the order of the table.</summary>
    public abstract IReadOnlyList<string> Tasks { get; }

    /// <summary>The methods, in the order of the table.</summary>
    public abstract IReadOnlyList<ExperimentMethod> Methods { get; }

    /// <summary>What its page says below the tables, in Markdown; none if empty.</summary>
    public virtual string Notes => "";

    /// <summary>Runs methods on all tasks and gives a row for each as it is done.</summary>
    public abstract IEnumerable<ResultRow> Run(ExperimentRun run, CancellationToken cancellation);
}

/// <summary>A method of an experiment.</summary>
/// <param name="Name">What the command line and the tables call it.</param>
/// <param name="Recipe">How it is run, in Markdown.</param>
/// <param name="Published">The published accuracies in percent, in the order of the tasks, NaN where there is none; null if there are none at all.</param>
internal sealed record ExperimentMethod(string Name, string Recipe, IReadOnlyList<double>? Published = null);

/// <summary>What a run was asked for.</summary>
/// <param name="Data">The folder of data sets.</param>
/// <param name="Methods">The methods to run.</param>
/// <param name="Seeds">Over how many seeds, from 1, what is drawn at random is repeated; deterministic methods run once.</param>
/// <param name="Device">Where.</param>
internal sealed record ExperimentRun(string Data, IReadOnlyList<ExperimentMethod> Methods, int Seeds, Device Device)
{
    /// <summary>Where features of a fixed network are kept between runs; null for nowhere.</summary>
    public string? Cache { get; init; }

    /// <summary>What an earlier run with the same file of rows came to: not run again.</summary>
    public IReadOnlyList<ResultRow> Earlier { get; init; } = [];

    /// <summary>Whether an earlier run did it.</summary>
    public bool IsDone(string task, ExperimentMethod method, int seed) => Earlier.Any(row => row.Task == task && row.Method == method.Name && row.Seed == seed);

    /// <summary>The folder of one data set: that named so inside the data's folder, or the folder itself where it holds the file.</summary>
    /// <param name="set">The set's folder.</param>
    /// <param name="file">A file that the set has.</param>
    public string Folder(string set, string file)
    {
        foreach (string folder in new[] { Path.Combine(Data, set), Data })
        {
            if (Path.Exists(Path.Combine(folder, file)))
                return folder;
        }
        throw new FileNotFoundException($"Neither {Data} nor {Path.Combine(Data, set)} has {file}. Give --data the folder '{set}' or the folder that it lies in.");
    }
}

/// <summary>One result.</summary>
/// <param name="Task">The task.</param>
/// <param name="Method">The method.</param>
/// <param name="Seed">The seed; 0 of a method that draws nothing.</param>
/// <param name="Accuracy">The share of the target's rows that were classified right, 0 to 1.</param>
/// <param name="Seconds">How long it took, the data's reading left out.</param>
/// <param name="Candidates">What a deep method's result was chosen from, without a look at target labels, the chosen one first; null of a method that has one result.</param>
internal sealed record ResultRow(string Task, string Method, int Seed, double Accuracy, double Seconds, IReadOnlyList<CandidateRow>? Candidates = null);

/// <summary>A training that a result was chosen from.</summary>
/// <param name="Weight">What the method weighs.</param>
/// <param name="LearningRate">The optimiser's step size.</param>
/// <param name="Accuracy">On the target's rows, 0 to 1; measured when all was chosen.</param>
/// <param name="Scores">The validators' scores, by their names.</param>
internal sealed record CandidateRow(double Weight, double LearningRate, double Accuracy, IReadOnlyDictionary<string, double> Scores);
