namespace TransferEngine;

/// <summary>Parameters that an optimiser updates with settings of their own; a setting that is not set (NaN) becomes the optimiser's.</summary>
/// <param name="parameters">Leaves of the graph, contiguous, each in one group of one optimiser only.</param>
public sealed class ParameterGroup(IEnumerable<Tensor> parameters)
{
    private readonly List<Tensor> parameters = [.. parameters];
    private double? learningRate, weightDecay, momentum;

    /// <summary>The parameters, in the order given; frozen ones are absent while they are frozen.</summary>
    public IReadOnlyList<Tensor> Parameters => parameters;

    /// <summary>Whether schedules change its learning rate and momentum; those of a group that they pass by stay as they are, as a discriminator's do in CDAN's code.</summary>
    public bool IsScheduled { get; init; } = true;

    /// <summary>The step size; schedules change it.</summary>
    public double LearningRate { get => learningRate ?? double.NaN; set => learningRate = value; }

    /// <summary>The L2 penalty, or AdamW's relative decay.</summary>
    public double WeightDecay { get => weightDecay ?? double.NaN; set => weightDecay = value; }

    /// <summary>Momentum of SGD and RMSprop; the first beta of Adam and AdamW.</summary>
    public double Momentum { get => momentum ?? double.NaN; set => momentum = value; }

    /// <summary>The learning rate when the group entered its optimiser: what schedules are relative to.</summary>
    public double InitialLearningRate { get; internal set; }

    /// <summary>Takes out those that are wanted, and returns what puts them back in their places.</summary>
    internal Action? Withdraw(IReadOnlySet<Tensor> wanted)
    {
        Tensor[] order = [.. parameters];
        if (parameters.RemoveAll(wanted.Contains) == 0)
            return null;
        return () =>
        {
            var present = new HashSet<Tensor>(parameters, ReferenceEqualityComparer.Instance);
            var known = new HashSet<Tensor>(order, ReferenceEqualityComparer.Instance);
            Tensor[] restored = [.. order.Where(p => present.Contains(p) || wanted.Contains(p)), .. parameters.Where(p => !known.Contains(p))];
            parameters.Clear();
            parameters.AddRange(restored);
        };
    }

    internal void Complete(double rate, double decay, double inertia)
    {
        learningRate ??= rate;
        weightDecay ??= decay;
        momentum ??= inertia;
        InitialLearningRate = LearningRate;
    }
}
