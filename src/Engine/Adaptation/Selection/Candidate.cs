using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>A trained classifier in its two parts.</summary>
/// <param name="Features">Takes inputs to features.</param>
/// <param name="Head">Takes features to logits.</param>
public sealed record AdaptedModel(Module Features, Module Head)
{
    /// <summary>The classes that the model gives to inputs, computed in the modes that its parts have.</summary>
    /// <param name="inputs">[N, ...].</param>
    /// <returns>Int32 [N].</returns>
    public Tensor Predict(Tensor inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        using var recording = new NoGrad();
        return Head.Forward(Features.Forward(inputs)).ArgMax(1);
    }
}

/// <summary>Trains what a candidate describes, from new networks.</summary>
/// <param name="candidate">What to train: its method, weight, learning rate and seed.</param>
/// <param name="progress">To be told of the training: what it hears is the candidate's learning curve.</param>
/// <param name="cancellation">Ends the training early, with an <see cref="OperationCanceledException"/>.</param>
public delegate AdaptedModel CandidateTraining(Candidate candidate, IProgress<TrainingProgress>? progress, CancellationToken cancellation);

/// <summary>One training to try, for <see cref="ModelSelection"/> to compare with others. <see cref="AdapterCandidates"/> makes those that an <see cref="Adapter"/> trains.</summary>
/// <param name="Method">What it is called in reports.</param>
/// <param name="Train">Trains it.</param>
/// <param name="Weight">What the method weighs.</param>
/// <param name="LearningRate">The optimiser's step size.</param>
/// <param name="Seed">What first weights, orders of rows and dropout are drawn from.</param>
/// <param name="IsBaseline">Whether it is trained on the source alone: what <see cref="NegativeTransferVote"/> compares with.</param>
public sealed record Candidate(string Method, CandidateTraining Train, double Weight = 1, double LearningRate = 1e-3, ulong Seed = 0, bool IsBaseline = false)
{
    /// <summary>The method, weight, learning rate and seed.</summary>
    public override string ToString() => FormattableString.Invariant($"{Method}, weight {Weight}, learning rate {LearningRate}, seed {Seed}");
}
