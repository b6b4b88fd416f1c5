using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>
/// T3A: replaces the head's weight vectors by centroids of what they attract. Each class k has a support set, at first its weight vector w_k / |w_k|.
/// Each row of features z joins, as z / |z|, the set of the class that the shipped head gives it, with the entropy of the shipped head's prediction;
/// of each set the rows of lowest entropy are kept. Logits are z · c_k, with c_k the mean of the set. No weight of the model is changed.
/// </summary>
/// <remarks>
/// Iwasawa and Matsuo, Test-time classifier adjustment module for model-agnostic domain generalization, NeurIPS 2021, section 3. A batch is predicted
/// with the sets that it has entered. <see cref="Authors"/> is what their code computes. The head's summands enter labels and entropies, not the new logits.
/// </remarks>
public sealed class T3a : IStreamAdapter
{
    private const double SmallestNorm = 1e-12; // as of PyTorch's normalize

    private readonly Module features;
    private readonly Linear head;
    private readonly int? kept;
    private readonly bool isAuthors;
    private readonly double[] firstEntropies;
    private readonly int[] firstLabels;
    private readonly Tensor first;
    private Tensor supports;
    private double[] entropies;
    private int[] labels;

    /// <param name="features">Takes batches to features [N, d].</param>
    /// <param name="head">Takes features to logits [N, C]; it is not changed.</param>
    /// <param name="kept">The rows that a class keeps; null keeps all, which grows without end.</param>
    public T3a(Module features, Linear head, int? kept = 20) : this(features, head, kept, isAuthors: false)
    {
    }

    private T3a(Module features, Linear head, int? kept, bool isAuthors)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(head);
        if (kept is { } rows)
            ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1, nameof(kept));
        (this.features, this.head, this.kept, this.isAuthors) = (features, head, kept, isAuthors);
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        first = Unit(head.Weight).KeepAlive();
        var ofWeights = head.Forward(head.Weight);
        firstEntropies = Entropies(ofWeights);
        firstLabels = isAuthors ? ofWeights.ArgMax(1).ToArray<int>() : [.. Enumerable.Range(0, Classes)];
        supports = first.Clone().KeepAlive();
        (entropies, labels) = (firstEntropies, firstLabels);
    }

    /// <summary>The rows in the support sets, those of the head among them.</summary>
    public int SupportRows => labels.Length;

    private int Classes => head.Weight.Shape[0];

    /// <summary>
    /// What the authors' code computes: the centroids are scaled to length 1, whether their sets agree or not, and a weight vector begins in the set of the class that the head gives
    /// it, which is not always its own; the logit of a class is 0 as long as its set is empty.
    /// </summary>
    /// <inheritdoc cref="T3a(Module, Linear, int?)"/>
    public static T3a Authors(Module features, Linear head, int? kept = 20) => new(features, head, kept, isAuthors: true);

    /// <inheritdoc/>
    public Tensor Adapt(Tensor batch)
    {
        StreamBatch.Check(nameof(T3a), batch);
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var putBack = features.Evaluate();
        try
        {
            var z = features.Forward(batch);
            Check.That(z.Rank == 2 && z.Shape[0] == batch.Shape[0] && z.Shape[1] == head.Weight.Shape[1],
                $"T3a: the features {z.Shape} of {batch.Shape} do not suit a head of {head.Weight.Shape[1]} inputs; wanted [{batch.Shape[0]}, {head.Weight.Shape[1]}].");
            var logits = head.Forward(z);
            double[] certainty = Entropies(logits);
            if (Array.Exists(certainty, entropy => !double.IsFinite(entropy)))
                throw new InvalidOperationException("T3a: a prediction's entropy is no number. Are inputs scaled as the model wants them?");
            Enter(Unit(z), [.. entropies, .. certainty], [.. labels, .. logits.ArgMax(1).ToArray<int>()]);
            return scope.Keep(z.MatMul(Centroids().Transpose()));
        }
        finally
        {
            putBack();
        }
    }

    /// <summary>Forgets all rows; the support sets are the head's weights again.</summary>
    public void RollBack()
    {
        using var recording = new NoGrad();
        supports.Dispose();
        supports = first.Clone().KeepAlive();
        (entropies, labels) = (firstEntropies, firstLabels);
    }

    /// <summary>Gives the support sets back.</summary>
    public void Dispose()
    {
        first.Dispose();
        supports.Dispose();
    }

    /// <summary>The rows of lowest entropy of each class, in the order in which they came; of equal ones the earlier.</summary>
    private void Enter(Tensor rows, double[] allEntropies, int[] allLabels)
    {
        int[] chosen = [.. Enumerable.Range(0, allLabels.Length)];
        if (kept is { } most)
            chosen = [.. chosen.GroupBy(row => allLabels[row]).SelectMany(group => group.OrderBy(row => allEntropies[row]).Take(most)).Order()];
        var next = Tensor.Concat([supports, rows]).IndexSelect(0, Tensor.From(chosen, supports.Device)).KeepAlive();
        supports.Dispose();
        supports = next;
        (entropies, labels) = ([.. chosen.Select(row => allEntropies[row])], [.. chosen.Select(row => allLabels[row])]);
    }

    /// <summary>[C, d].</summary>
    private Tensor Centroids()
    {
        var members = Tensor.From(labels, supports.Device).OneHot(Classes, supports.ElementType);
        var sums = members.Transpose().MatMul(supports);
        return isAuthors ? Unit(sums) : sums / members.Sum([0]).Reshape(-1, 1);
    }

    private static Tensor Unit(Tensor rows) => rows / rows.Norm(2, [1], keepDim: true).Clamp(SmallestNorm, double.PositiveInfinity);

    private static double[] Entropies(Tensor logits) => (-(logits.Softmax() * logits.LogSoftmax()).Sum([1])).To(ElementType.Float64).ToArray<double>();
}
