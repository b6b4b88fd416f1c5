namespace TransferEngine.Adaptation;

/// <summary>What a classical method is fitted on: the features of a labelled source and of a target whose labels nobody has seen.</summary>
public sealed class DomainFeatures
{
    /// <param name="source">[n, d], floating.</param>
    /// <param name="labels">The classes of the source's rows, [n], Int32, 0 or more.</param>
    /// <param name="target">[m, d], of the source's device and type.</param>
    /// <param name="classes">The number of classes; one more than the greatest label if null.</param>
    /// <exception cref="ShapeException">The shapes do not fit each other, a domain has no row, there is no feature, or a label is no class.</exception>
    /// <exception cref="ElementTypeException">The features are not floating or of different types, or the labels are not Int32.</exception>
    /// <exception cref="DeviceMismatchException">The tensors are not on one device.</exception>
    public DomainFeatures(Tensor source, Tensor labels, Tensor target, int? classes = null)
    {
        const string Name = nameof(DomainFeatures);
        Discrepancy.CheckFeatures(Name, source, target);
        Check.That(source.Shape[1] > 0, $"{Name}: source {source.Shape} has no feature.");
        Classes = CheckLabels(Name, source, labels, classes);
        (Source, Labels, Target) = (source, labels, target);
    }

    /// <summary>The source's features, [n, d].</summary>
    public Tensor Source { get; }

    /// <summary>The source's classes, [n].</summary>
    public Tensor Labels { get; }

    /// <summary>The target's features, [m, d].</summary>
    public Tensor Target { get; }

    /// <summary>The number of classes.</summary>
    public int Classes { get; }

    /// <summary>Whether labels belong to rows, and are classes; how many classes there are.</summary>
    internal static int CheckLabels(string name, Tensor features, Tensor labels, int? classes)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(labels);
        Check.Floating(name, features);
        Check.Rank(name, "features", features, 2, "[n, d]");
        Check.Integer(name, "labels", labels);
        Check.SameDevice(name, features, labels);
        Check.That(labels.Shape == [features.Shape[0]] && features.Shape[0] > 0, $"{name}: labels {labels.Shape} for features {features.Shape}; wanted one for each row, [{features.Shape[0]}], and a row at least.");
        int[] values = labels.ToArray<int>();
        int least = values.Min(), greatest = values.Max();
        int count = classes ?? greatest + 1;
        Check.That(least >= 0 && greatest < count, $"{name}: the labels run from {least} to {greatest}; wanted 0 to {count - 1}, whole numbers from 0 on.");
        return count;
    }
}

/// <summary>Where the fit of an iterative classical method stands.</summary>
/// <param name="Iteration">The iterations done.</param>
/// <param name="Iterations">How many there will be at the most.</param>
/// <param name="Value">What the method watches; its documentation says what: a cost, or the share of the target's pseudo-labels that changed.</param>
public readonly record struct ClassicalProgress(int Iteration, int Iterations, double Value);
