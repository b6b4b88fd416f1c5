using TransferEngine.Adaptation;
using TransferEngine.Serialization;
using TransferEngine.Tests.Serialization;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation.Classical;

/// <summary>The nearest-neighbour classifier: against a search by hand, and the published accuracies of Office-Caltech10.</summary>
public class NearestNeighborsTests
{
    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(5), InlineData(20)]
    public void Predictions_are_those_of_a_search_by_hand(int k)
    {
        double[][] rows = Rows(20, 3, 1, 0), others = Rows(1500, 3, 2, 0.2);
        int[] labels = [.. Enumerable.Range(0, 20).Select(i => i * 7 % 4)];
        int[] want = [.. others.Select(other =>
        {
            int[] nearest = [.. Enumerable.Range(0, 20).OrderBy(i => Distance(rows[i], other)).Take(k)];
            var votes = nearest.CountBy(i => labels[i]).ToDictionary();
            return labels[nearest.First(i => votes[labels[i]] == votes.Values.Max())];
        })];
        foreach (var type in new[] { ElementType.Float64, ElementType.Float32 })
            Assert.Equal(want, new NearestNeighbors(k).Fit(From(rows).To(type), Tensor.From(labels), 4).Predict(From(others).To(type)).ToArray<int>());
    }

    [Fact]
    public void Of_rows_at_equal_distance_the_first_counts_as_nearer() => Assert.Equal(
        [2, 2], new NearestNeighbors().Fit(Tensor.From([1.0, -1, 1], [3, 1]), Tensor.From([2, 1, 0]), 3).Predict(Tensor.From([0.0, 5], [2, 1])).ToArray<int>());

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Tensor x = Tensor.Ones([3, 2]), y = Tensor.From([0, 1, 1]);
        Assert.Throws<ArgumentOutOfRangeException>(() => new NearestNeighbors(0));
        Assert.Contains("4 neighbours", Assert.Throws<ShapeException>(() => new NearestNeighbors(4).Fit(x, y, 2)).Message);
        Assert.Throws<ShapeException>(() => new NearestNeighbors().Fit(x, y, 1));
        Assert.Throws<ShapeException>(() => new NearestNeighbors().Fit(x, Tensor.From([0, 1]), 2));
        Assert.Throws<ElementTypeException>(() => new NearestNeighbors().Fit(x, Tensor.Ones([3]), 2));
        Assert.Throws<ArgumentException>(() => new NearestNeighbors().Fit(x, y, 2, [1, 1, 1]));
        Assert.Throws<ShapeException>(() => new NearestNeighbors().Fit(x, y, 2).Predict(Tensor.Ones([3, 4])));
        Assert.Throws<ShapeException>(() => new DomainFeatures(x, y, Tensor.Ones([3, 3])));
        Assert.Throws<ShapeException>(() => new DomainFeatures(x, Tensor.From([0, -1, 1]), x));
    }

    /// <summary>Long et al. 2013, table 3, to the last digit.</summary>
    [SkippableFact]
    public void The_published_accuracies_of_Office_Caltech10_are_met_exactly()
    {
        string folder = RealFiles.Find("office-caltech10-features");
        var domains = new[] { ('C', "caltech10"), ('A', "amazon"), ('W', "webcam"), ('D', "dslr") }.ToDictionary(domain => domain.Item1, domain =>
        {
            var counts = Npy.Load(Path.Combine(folder, $"surf_{domain.Item2}_X.npy")).To(ElementType.Float64);
            int[] labels = Array.ConvertAll(Npy.Load(Path.Combine(folder, $"surf_{domain.Item2}_y.npy")).ToArray<int>(), label => label - 1);
            return (X: FeatureScaling.Standardize(FeatureScaling.RowFrequencies(counts)), Y: labels);
        });
        foreach (var (task, want) in new[] { ("CA", 23.70), ("CW", 25.76), ("CD", 25.48), ("AC", 26.00), ("AW", 29.83), ("AD", 25.48), ("WC", 19.86), ("WA", 22.96), ("WD", 59.24), ("DC", 26.27), ("DA", 28.50), ("DW", 63.39) })
        {
            var (source, target) = (domains[task[0]], domains[task[1]]);
            int[] predicted = new ClassicalPipeline(new NearestNeighbors()).Fit(new(source.X, Tensor.From(source.Y), target.X)).Predict(target.X).ToArray<int>();
            Assert.Equal(want, Math.Round(100 * predicted.Zip(target.Y, (a, b) => a == b ? 1.0 : 0).Average(), 2));
        }
    }
}
