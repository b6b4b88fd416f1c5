namespace TransferEngine.Adaptation;

/// <summary>
/// Optimal transport between two uniform samples with an entropic penalty, by Sinkhorn's iterations on the potentials (in the logarithmic domain, so that
/// no penalty underflows): f_i = -ε log (1/m) Σ_j exp((g_j - C_ij) / ε), and alike for g. All of it stays on the device; nothing is recorded here.
/// </summary>
/// <param name="Epsilon">ε, a scalar.</param>
/// <param name="Iterations">How often each potential is updated.</param>
internal readonly record struct EntropicTransport(Tensor Epsilon, int Iterations)
{
    /// <summary>The potentials of the columns of a cost, [m]; those of the rows are <see cref="SoftMinimum"/> of them.</summary>
    public Tensor Columns(Tensor cost)
    {
        using var recording = new NoGrad();
        var (byRows, byColumns) = (cost.Detach().Contiguous(), cost.Detach().Transpose().Contiguous());
        var g = Tensor.Zeros([cost.Shape[1]], cost.Device, cost.ElementType);
        var penalty = byRows.Max();
        for (int i = 0; i < Iterations; i++)
        {
            // A large penalty first, halved until it is ε: the first iterations then move far.
            penalty = Tensor.Maximum(penalty * 0.5, Epsilon);
            using var scope = new TensorScope();
            var f = SoftMinimum(byRows, g, penalty);
            g = scope.Keep(SoftMinimum(byColumns, f, penalty));
        }
        return g;
    }

    /// <summary>The potential of a sample with itself, [n], where both are one; the mean of two iterates converges fast.</summary>
    public Tensor Own(Tensor cost)
    {
        using var recording = new NoGrad();
        var dense = cost.Detach().Contiguous();
        var f = Tensor.Zeros([cost.Shape[0]], cost.Device, cost.ElementType);
        var penalty = dense.Max();
        for (int i = 0; i < Iterations; i++)
        {
            penalty = Tensor.Maximum(penalty * 0.5, Epsilon);
            using var scope = new TensorScope();
            f = scope.Keep((f + SoftMinimum(dense, f, penalty)) * 0.5);
        }
        return f;
    }

    /// <summary>The plan that potentials of the columns stand for, [n, m]: rows sum to 1/n exactly, columns to 1/m where they have converged.</summary>
    public Tensor Plan(Tensor cost)
    {
        using var recording = new NoGrad();
        return ((Columns(cost) - cost.Detach()) / Epsilon).Softmax(1) / cost.Shape[0];
    }

    /// <summary>-ε log (1/m) Σ_j exp((g_j - C_ij) / ε), [n]; recorded if the cost is.</summary>
    public static Tensor SoftMinimum(Tensor cost, Tensor potential, Tensor epsilon) =>
        (((potential - cost) / epsilon).LogSumExp([1]) - Math.Log(cost.Shape[1])) * -epsilon;
}
