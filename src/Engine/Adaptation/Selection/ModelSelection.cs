using System.Diagnostics;
using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// Chooses among trainings without target labels: trains each candidate, scores what it gives with all validators, and ranks by one of them. Source-only
/// candidates, where there are any, take part, and each other candidate is held against one of them by a <see cref="NegativeTransferVote"/>.
/// </summary>
/// <example><code>
/// var result = new ModelSelection(set).Run(candidates);
/// result.Best.Model!.Predict(inputs);
/// if (result.Best.NegativeTransfer is { IsAlarm: true } alarm) Console.WriteLine(alarm);
/// </code></example>
public sealed class ModelSelection
{
    private readonly ValidationSet data;

    /// <param name="data">The rows that models are compared on.</param>
    public ModelSelection(ValidationSet data)
    {
        ArgumentNullException.ThrowIfNull(data);
        this.data = data;
    }

    /// <summary>Whose scores rank the candidates; at first that whose ranking follows the accuracy on the target best in the study of docs/validators.md.</summary>
    public Validator RankedBy { get; init; } = new ClassClusterValidator();

    /// <summary>Who votes on negative transfer.</summary>
    public IReadOnlyList<Validator> Voters { get; init; } = NegativeTransferVote.Panel;

    /// <summary>Who else scores them, for the report.</summary>
    public IReadOnlyList<Validator> Validators { get; init; } = Validator.All;

    /// <summary>Whether the models of all candidates are kept; otherwise only the best's, and the others' memory is given back.</summary>
    public bool KeepsModels { get; init; }

    /// <summary>Trains, scores and ranks.</summary>
    /// <param name="candidates">What to try, in this order.</param>
    /// <param name="progress">Hears of each training's course and of each candidate that is done, on the thread that trains.</param>
    /// <param name="cancellation">Ends the training under way; candidates that are done were reported.</param>
    /// <returns>The candidates, the best first.</returns>
    /// <exception cref="ArgumentException">There is no candidate.</exception>
    /// <exception cref="InvalidOperationException">No candidate's model gives finite numbers.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public SelectionResult Run(IReadOnlyList<Candidate> candidates, IProgress<SelectionProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(candidates);
        if (candidates.Count == 0)
            throw new ArgumentException("ModelSelection: there is no candidate. Give one or more.", nameof(candidates));
        Validator[] validators = [.. Validators.Append(RankedBy).Concat(Voters).DistinctBy(validator => validator.Name)];
        List<CandidateResult> done = [];
        CandidateResult? best = null;
        for (int i = 0; i < candidates.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            var result = Try(candidates[i], validators, new(new(i + 1, candidates.Count, candidates[i], null, null), progress), cancellation);
            bool isBest = double.IsFinite(result.Scores[RankedBy.Name]) && (best is null || result.Scores[RankedBy.Name] > best.Scores[RankedBy.Name]);
            if (!KeepsModels)
            {
                if (isBest && best is not null)
                    done[done.IndexOf(best)] = best with { Model = null };
                else if (!isBest)
                    result = result with { Model = null };
            }
            best = isBest ? result : best;
            done.Add(result);
            progress?.Report(new(i + 1, candidates.Count, candidates[i], null, result));
        }
        if (best is null)
            throw new InvalidOperationException($"ModelSelection: none of the {candidates.Count} candidates gives a finite {RankedBy.Name}. Try lower learning rates.");
        double Score(CandidateResult result) => result.Scores[RankedBy.Name] is double score && double.IsNaN(score) ? double.NegativeInfinity : score;
        return new(RankedBy.Name, [.. done.Select(result => Voted(result, done)).OrderByDescending(Score)]);
    }

    private CandidateResult Try(Candidate candidate, Validator[] validators, Curve curve, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var model = candidate.Train(candidate, curve, cancellation) ?? throw new InvalidOperationException($"ModelSelection: the training of {candidate} returned no model.");
        using var given = data.Evaluate(model.Features, model.Head, cancellation);
        return new(candidate, model, validators.ToDictionary(validator => validator.Name, validator => validator.Score(given, cancellation)), curve.Points, clock.Elapsed);
    }

    /// <summary>Holds a candidate against the source-only one of its seed, or the first one there is.</summary>
    private CandidateResult Voted(CandidateResult result, List<CandidateResult> all)
    {
        if (result.Candidate.IsBaseline || all.FindAll(other => other.Candidate.IsBaseline) is not [var first, ..] baselines)
            return result;
        var baseline = baselines.Find(other => other.Candidate.Seed == result.Candidate.Seed) ?? first;
        return result with { NegativeTransfer = NegativeTransferVote.Count(result.Scores, baseline.Scores, Voters) };
    }

    /// <summary>Keeps what a training reports, and passes it on.</summary>
    private sealed class Curve(SelectionProgress place, IProgress<SelectionProgress>? progress) : IProgress<TrainingProgress>
    {
        public List<TrainingProgress> Points { get; } = [];

        public void Report(TrainingProgress value)
        {
            Points.Add(value);
            progress?.Report(place with { Training = value });
        }
    }
}

/// <summary>Where a selection stands.</summary>
/// <param name="Number">The candidate under way, from 1.</param>
/// <param name="Count">The candidates.</param>
/// <param name="Candidate">It.</param>
/// <param name="Training">Where its training stands; null where it is done.</param>
/// <param name="Result">What it came to, once it is done; without the vote on negative transfer, which needs all.</param>
public sealed record SelectionProgress(int Number, int Count, Candidate Candidate, TrainingProgress? Training, CandidateResult? Result);

/// <summary>What a candidate came to.</summary>
/// <param name="Candidate">What was trained.</param>
/// <param name="Model">The trained model; null where it was not kept.</param>
/// <param name="Scores">All validators' scores by their names, the higher the better; NaN where the training diverged.</param>
/// <param name="Curve">What the training reported.</param>
/// <param name="Elapsed">The time of training and scoring.</param>
public sealed record CandidateResult(Candidate Candidate, AdaptedModel? Model, IReadOnlyDictionary<string, double> Scores, IReadOnlyList<TrainingProgress> Curve, TimeSpan Elapsed)
{
    /// <summary>How it stands against the source alone; null for a source-only candidate, and where there is none to compare with.</summary>
    public NegativeTransferVote? NegativeTransfer { get; init; }
}

/// <summary>What a selection came to.</summary>
/// <param name="RankedBy">The name of the validator that ranked.</param>
/// <param name="Ranking">All candidates, the best first; those that diverged last.</param>
public sealed record SelectionResult(string RankedBy, IReadOnlyList<CandidateResult> Ranking)
{
    /// <summary>The best candidate, with its model.</summary>
    public CandidateResult Best => Ranking[0];
}
