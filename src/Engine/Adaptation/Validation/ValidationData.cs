using System.Collections.Concurrent;
using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>What a model gives on some rows.</summary>
/// <param name="Features">[N, d].</param>
/// <param name="Logits">[N, C].</param>
/// <param name="Labels">Int32 [N], from 0 to C - 1; null where they are unknown.</param>
public sealed record ModelOutput(Tensor Features, Tensor Logits, Tensor? Labels = null);

/// <summary>All that a <see cref="Validator"/> may look at: what a trained model gives on labelled source rows, of the training and held out, and on target rows without labels.</summary>
public sealed class ValidationData : IDisposable
{
    private readonly ConcurrentDictionary<object, Lazy<object>> computed = [];
    private readonly Lazy<bool> finite;
    private readonly Lazy<int[]> predictions;

    /// <param name="sourceTrain">On rows of the source that the model was trained on, with labels.</param>
    /// <param name="sourceValidation">On rows of the source that it was not trained on, with labels.</param>
    /// <param name="target">On rows of the target, without labels.</param>
    /// <exception cref="ArgumentException">The source's labels are missing, or target labels are there.</exception>
    /// <exception cref="ShapeException">The shapes do not fit, a part has no row, or a label is no class.</exception>
    public ValidationData(ModelOutput sourceTrain, ModelOutput sourceValidation, ModelOutput target)
    {
        ArgumentNullException.ThrowIfNull(sourceTrain);
        ArgumentNullException.ThrowIfNull(sourceValidation);
        ArgumentNullException.ThrowIfNull(target);
        if (target.Labels is not null)
            throw new ArgumentException("ValidationData: the target has labels. Choosing must not see them; leave them out.", nameof(target));
        foreach (var (role, part) in new[] { ("the source's training rows", sourceTrain), ("the source's validation rows", sourceValidation), ("the target's rows", target) })
        {
            Check.Alike(nameof(ValidationData), sourceTrain.Features, part.Features);
            Check.Alike(nameof(ValidationData), part.Features, part.Logits);
            Check.Rank(nameof(ValidationData), role, part.Features, 2, "[N, d]");
            Check.Rank(nameof(ValidationData), role, part.Logits, 2, "[N, C]");
            Check.That(part.Features.Shape[0] == part.Logits.Shape[0] && part.Features.Elements > 0 && part.Logits.Elements > 0,
                $"ValidationData: {role} have features {part.Features.Shape} and logits {part.Logits.Shape}; wanted [N, d] and [N, C], N, d and C 1 or more.");
            Check.That(part.Features.Shape[1] == sourceTrain.Features.Shape[1] && part.Logits.Shape[1] == sourceTrain.Logits.Shape[1],
                $"ValidationData: {role} have features {part.Features.Shape} and logits {part.Logits.Shape}, the source's training rows {sourceTrain.Features.Shape} and {sourceTrain.Logits.Shape}. Take all from one model.");
            if (ReferenceEquals(part, target))
                continue;
            if (part.Labels is null)
                throw new ArgumentException($"ValidationData: {role} have no labels. Give the source's.", ReferenceEquals(part, sourceTrain) ? nameof(sourceTrain) : nameof(sourceValidation));
            TransferScore.CheckLabels(nameof(ValidationData), part.Logits, part.Labels, Classes(sourceTrain));
        }
        (SourceTrain, SourceValidation, Target) = (sourceTrain, sourceValidation, target);
        finite = new(() => Tensors().All(tensor => tensor.ElementType == ElementType.Int32 || IsFiniteSum(tensor)));
        predictions = new(() => Predictions.Classes(target.Logits));
    }

    /// <summary>On rows of the source that the model was trained on.</summary>
    public ModelOutput SourceTrain { get; }

    /// <summary>On rows of the source that it was not trained on.</summary>
    public ModelOutput SourceValidation { get; }

    /// <summary>On rows of the target.</summary>
    public ModelOutput Target { get; }

    /// <summary>The number of classes.</summary>
    public int ClassCount => Classes(SourceTrain);

    /// <summary>Whether all numbers are finite.</summary>
    public bool IsFinite => finite.Value;

    /// <summary>The class that the model gives to each row of the target.</summary>
    internal int[] TargetPredictions => predictions.Value;

    /// <summary>Gives the memory of all tensors back.</summary>
    public void Dispose()
    {
        foreach (var tensor in Tensors())
            tensor.Dispose();
    }

    /// <summary>What several validators need: made when it is first asked for.</summary>
    /// <param name="key">What it depends on besides the data.</param>
    /// <param name="make">Makes it; no tensor, which would be given back with the scope of the first asker.</param>
    internal T Once<T>(object key, Func<T> make) where T : notnull => (T)computed.GetOrAdd(key, _ => new(() => make())).Value;

    private static int Classes(ModelOutput output) => output.Logits.Shape[1];

    private static bool IsFiniteSum(Tensor x)
    {
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        return double.IsFinite((x * 0).Sum().Item()); // infinity times 0 is NaN
    }

    private IEnumerable<Tensor> Tensors()
    {
        foreach (var part in new[] { SourceTrain, SourceValidation, Target })
        {
            yield return part.Features;
            yield return part.Logits;
            if (part.Labels is { } labels)
                yield return labels;
        }
    }
}
