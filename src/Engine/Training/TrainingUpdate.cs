using TransferEngine.Modules;

namespace TransferEngine.Training;

/// <summary>One update of weights, of which a step may have several, one after the other.</summary>
/// <param name="Loss">A scalar that is made small.</param>
/// <param name="Parts">The modules whose weights are changed; null for all. What else the loss depends on stays as it is, and nothing runs backwards through what does not lead to them.</param>
/// <param name="IsReported">Whether the loss is part of the loss that is reported of the step.</param>
public readonly record struct TrainingUpdate(Tensor Loss, IReadOnlyList<Module>? Parts = null, bool IsReported = true);
