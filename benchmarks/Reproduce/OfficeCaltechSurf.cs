using System.Diagnostics;
using TransferEngine.Adaptation;
using TransferEngine.Serialization;

namespace TransferEngine.Benchmarks;

/// <summary>Office-Caltech10 with SURF histograms: the classical methods' benchmark, twelve tasks, all source rows labelled, all target rows predicted.</summary>
internal sealed class OfficeCaltechSurf : Experiment
{
    private static readonly Dictionary<char, string> Domains = new() { ['C'] = "caltech10", ['A'] = "amazon", ['W'] = "webcam", ['D'] = "dslr" };

    private readonly Dictionary<string, Func<IClassicalMethod>> makers = new()
    {
        ["1NN"] = () => new ClassicalPipeline(new NearestNeighbors()),
        ["PCA"] = () => new ClassicalPipeline(new NearestNeighbors(), new PrincipalComponents(20)),
    };

    public override string Name => "office-caltech10-surf";

    public override string Title => "Office-Caltech10, SURF features";

    public override string Protocol => """
        Four domains, 800-bin SURF histograms of Gong et al. (CVPR 2012): caltech10 (C, 1123 rows), amazon (A, 958), webcam (W, 295) and dslr (D, 157), ten classes. Each row is divided
        by its sum and each column standardised, each domain by itself. All source rows are labelled, all target rows unlabelled during the fit and scored afterwards.
        """;

    public override IReadOnlyList<string> Tasks { get; } = ["C→A", "C→W", "C→D", "A→C", "A→W", "A→D", "W→C", "W→A", "W→D", "D→C", "D→A", "D→W"];

    public override IReadOnlyList<ExperimentMethod> Methods { get; } =
    [
        new("1NN", "nearest neighbour.", [23.7, 25.8, 25.5, 26.0, 29.8, 25.5, 19.9, 23.0, 59.2, 26.3, 28.5, 63.4]),
        new("PCA", "20 principal components of both domains, nearest neighbour.", [39.5, 34.6, 44.6, 39.0, 35.9, 33.8, 28.2, 29.1, 89.2, 29.7, 33.2, 86.1]),
    ];

    public override IEnumerable<ResultRow> Run(ExperimentRun run, CancellationToken cancellation)
    {
        string folder = run.Folder("office-caltech10-features", "surf_amazon_X.npy");
        var domains = Domains.ToDictionary(domain => domain.Key, domain => Load(folder, domain.Value, run.Device));
        foreach (var method in run.Methods)
        {
            foreach (string task in Tasks.Where(task => !run.IsDone(task, method, 0)))
            {
                var ((source, sourceLabels), (target, targetLabels)) = (domains[task[0]], domains[task[^1]]);
                var clock = Stopwatch.StartNew();
                using var scope = new TensorScope();
                int[] predicted = makers[method.Name]().Fit(new(source, sourceLabels, target), cancellation: cancellation).Predict(target).ToArray<int>();
                yield return new(task, method.Name, 0, predicted.Zip(targetLabels.ToArray<int>(), (a, b) => a == b ? 1.0 : 0).Average(), clock.Elapsed.TotalSeconds);
            }
        }
    }

    /// <summary>Features, prepared, and classes from 0; in float64.</summary>
    private static (Tensor Features, Tensor Labels) Load(string folder, string domain, Device device)
    {
        using var scope = new TensorScope();
        var counts = Npy.Load(Path.Combine(folder, $"surf_{domain}_X.npy"), device);
        int[] labels = Npy.Load(Path.Combine(folder, $"surf_{domain}_y.npy")).ToArray<int>();
        if (counts.Rank != 2 || counts.Shape[0] != labels.Length)
            throw new DataFormatException(Path.Combine(folder, $"surf_{domain}_X.npy"), $"its shape is {counts.Shape}, wanted a row for each of the {labels.Length} labels.");
        var features = FeatureScaling.Standardize(FeatureScaling.RowFrequencies(counts.To(ElementType.Float64)));
        return (scope.Keep(features), scope.Keep(Tensor.From(Array.ConvertAll(labels, label => label - 1), device)));
    }
}
