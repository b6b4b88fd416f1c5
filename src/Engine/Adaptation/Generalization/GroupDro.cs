namespace TransferEngine.Adaptation;

/// <summary>
/// Group DRO: minimises the risk of the worst domain, by weights of the domains that grow with their risks: q_e ← q_e exp(η R_e) / Σ, and the loss Σ_e q_e R_e. The weights begin equal; no gradient flows through them.
/// </summary>
/// <remarks>Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020, algorithm 1; η = 0.01. It needs strong regularisation or early stopping to gain on networks that fit all domains.</remarks>
public sealed class GroupDro : SourceRiskMethod
{
    private readonly double rate;
    private Tensor? shares;

    /// <param name="rate">η, how fast weights move; positive.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not positive.</exception>
    public GroupDro(double rate = 0.01)
    {
        if (!(rate > 0))
            throw new ArgumentOutOfRangeException(nameof(rate), rate, "GroupDro: the rate is positive.");
        this.rate = rate;
    }

    /// <inheritdoc/>
    public override string Name => "group-dro";

    /// <summary>The weights q after the last step, one for each domain; empty before the first. Reading them waits for the device.</summary>
    public IReadOnlyList<double> Shares => shares is null ? [] : Transfer.LinearProbe.Doubles(shares);

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        shares?.Dispose();
        shares = null;
    }

    /// <inheritdoc/>
    protected override Tensor Combine(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var risks = Risks(step);
        using (new NoGrad())
        {
            // Of equal weights the logarithm is any constant: the softmax below takes it off.
            var logarithms = (shares is null ? risks.Detach() * 0 : shares.Log()) + risks.Detach() * rate;
            shares?.Dispose();
            shares = logarithms.Softmax().KeepAlive();
        }
        return (shares * risks).Sum();
    }
}
