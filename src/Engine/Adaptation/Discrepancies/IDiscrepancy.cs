namespace TransferEngine.Adaptation;

/// <summary>A differentiable measure of how far two samples of features are apart: what a statistical adaptation method makes small.</summary>
public interface IDiscrepancy
{
    /// <summary>Measures.</summary>
    /// <param name="source">Features of the source domain, [n, d].</param>
    /// <param name="target">Features of the target domain, [m, d].</param>
    /// <returns>A scalar.</returns>
    Tensor Forward(Tensor source, Tensor target);
}

internal static class Discrepancy
{
    public static void CheckFeatures(string name, Tensor source, Tensor target, int minimumRows = 1)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(target);
        Check.Alike(name, source, target);
        Check.Rank(name, "source", source, 2, "[n, d]");
        Check.Rank(name, "target", target, 2, "[m, d]");
        Check.That(source.Shape[1] == target.Shape[1], $"{name}: source {source.Shape} and target {target.Shape} have different numbers of features. Take both from the same layer.");
        Check.That(source.Shape[0] >= minimumRows && target.Shape[0] >= minimumRows,
            $"{name}: source {source.Shape} and target {target.Shape}; each needs {minimumRows} rows or more. Use larger batches.");
    }

    /// <summary>Whether classes and probabilities belong to the rows of features.</summary>
    public static void CheckClasses(string name, Tensor source, Tensor sourceTargets, Tensor target, Tensor targetProbabilities)
    {
        ArgumentNullException.ThrowIfNull(sourceTargets);
        ArgumentNullException.ThrowIfNull(targetProbabilities);
        Check.Integer(name, "the source's classes", sourceTargets);
        Check.SameDevice(name, source, sourceTargets);
        Check.Alike(name, target, targetProbabilities);
        Check.That(sourceTargets.Shape == [source.Shape[0]], $"{name}: classes {sourceTargets.Shape} for {source.Shape[0]} rows of the source; wanted [{source.Shape[0]}].");
        Check.That(targetProbabilities.Rank == 2 && targetProbabilities.Shape[0] == target.Shape[0],
            $"{name}: predictions {targetProbabilities.Shape} for {target.Shape[0]} rows of the target; wanted [{target.Shape[0]}, C].");
    }

    /// <summary>Whether classes, known and guessed, belong to the rows of features.</summary>
    public static void CheckLabels(string name, Tensor source, Tensor sourceTargets, Tensor target, Tensor targetLabels)
    {
        ArgumentNullException.ThrowIfNull(sourceTargets);
        ArgumentNullException.ThrowIfNull(targetLabels);
        foreach (var (rows, labels, role) in new[] { (source, sourceTargets, "source"), (target, targetLabels, "target") })
        {
            Check.Integer(name, $"the {role}'s classes", labels);
            Check.SameDevice(name, rows, labels);
            Check.That(labels.Shape == [rows.Shape[0]], $"{name}: classes {labels.Shape} for {rows.Shape[0]} rows of the {role}; wanted [{rows.Shape[0]}].");
        }
    }

    public static void CheckLogits(string name, Tensor logits)
    {
        ArgumentNullException.ThrowIfNull(logits);
        Check.Floating(name, logits);
        Check.Rank(name, "logits", logits, 2, "[m, C]");
        Check.That(logits.Elements > 0, $"{name}: logits {logits.Shape} have no row or no class. Give a batch.");
    }
}
