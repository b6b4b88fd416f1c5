using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// The k-nearest-neighbours classifier under Euclidean distance: the class of most of the k nearest rows, of the nearest one among classes with equally many. With k = 1, the default,
/// the evaluation protocol of the papers of this field.
/// </summary>
/// <remarks>Cover and Hart, Nearest Neighbor Pattern Classification, 1967. Of rows at equal distance the first in order counts as nearer. It takes no weights of rows.</remarks>
public sealed class NearestNeighbors : IFeatureClassifier
{
    private const int Block = 1024;

    private readonly int k;

    /// <param name="k">How many neighbours vote.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is below 1.</exception>
    public NearestNeighbors(int k = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        this.k = k;
    }

    /// <inheritdoc/>
    public string Name => $"{k}NN";

    /// <inheritdoc/>
    public IPredictor Fit(Tensor features, Tensor labels, int classes, IReadOnlyList<double>? weights = null, CancellationToken cancellation = default)
    {
        DomainFeatures.CheckLabels(nameof(NearestNeighbors), features, labels, classes);
        if (weights is not null)
            throw new ArgumentException("NearestNeighbors: it takes no weights of rows. Leave the weighting out, or take a classifier such as LinearSvm.", nameof(weights));
        Check.That(k <= features.Shape[0], $"NearestNeighbors: {k} neighbours are wanted of {features.Shape[0]} rows. Give more rows, or a smaller k.");
        return new Predictor(features.Detach().KeepAlive(), labels.ToArray<int>(), classes, k);
    }

    private sealed class Predictor(Tensor rows, int[] labels, int classes, int k) : IPredictor
    {
        public Tensor Predict(Tensor features)
        {
            Discrepancy.CheckFeatures(nameof(NearestNeighbors), rows, features, minimumRows: 0);
            using var recording = new NoGrad();
            int count = features.Shape[0];
            var predicted = new int[count];
            for (int start = 0; start < count; start += Block)
            {
                using var scope = new TensorScope();
                int length = Math.Min(Block, count - start);
                var distances = features.Detach().Narrow(0, start, length).PairwiseSquaredDistances(rows);
                if (k == 1)
                {
                    int[] nearest = distances.ArgMin(1).ToArray<int>();
                    for (int i = 0; i < length; i++)
                        predicted[start + i] = labels[nearest[i]];
                    continue;
                }
                double[] all = LinearProbe.Doubles(distances);
                for (int i = 0; i < length; i++)
                    predicted[start + i] = Vote(all.AsSpan(i * labels.Length, labels.Length).ToArray());
            }
            return Tensor.From(predicted, features.Device);
        }

        private int Vote(double[] distances)
        {
            var order = new int[distances.Length];
            for (int i = 0; i < order.Length; i++)
                order[i] = i;
            Array.Sort(order, (a, b) => distances[a] != distances[b] ? distances[a].CompareTo(distances[b]) : a.CompareTo(b));
            var votes = new int[classes];
            foreach (int row in order.AsSpan(0, k))
                votes[labels[row]]++;
            int most = votes.Max();
            return labels[order.First(row => votes[labels[row]] == most)];
        }
    }
}
