namespace TransferEngine.Adaptation;

/// <summary>How long the components of a projection are.</summary>
public enum ComponentScale
{
    /// <summary>The papers' constraint: the projected rows of both domains together have uncorrelated columns of equal spread, Wᵀ K H K W = I.</summary>
    Constraint,

    /// <summary>Each column of W has length 1, as eigenvector routines return them: columns along which the rows differ much stay larger. Nearest neighbours want this.</summary>
    UnitLength,
}

/// <summary>How <see cref="TransferComponents"/>, <see cref="JointDistributionAdaptation"/> and <see cref="BalancedDistributionAdaptation"/> find their components.</summary>
public sealed record ComponentSettings
{
    /// <summary>k, the components.</summary>
    public int Dimensions { get; init; } = 30;

    /// <summary>λ, what the squared length of W weighs against the discrepancy.</summary>
    public double Regularization { get; init; } = 1;

    /// <summary>The kernel of the rows; null for the features themselves, the primal problem, which costs O(d³) instead of O((n + m)³).</summary>
    public SampleKernel? Kernel { get; init; }

    /// <summary>The length of the components.</summary>
    public ComponentScale Scale { get; init; } = ComponentScale.Constraint;

    /// <summary>Whether projected rows are brought to length 1, as in the experiments of the authors of JDA.</summary>
    public bool UnitRows { get; init; }

    /// <summary>Whether M is divided by its Frobenius norm, so that λ means the same for any number of rows, as in the code of the authors of JDA; the paper's formula is without it.</summary>
    public bool NormalizeDiscrepancy { get; init; } = true;

    internal void Validate(string name)
    {
        if (Dimensions < 1)
            throw new ArgumentOutOfRangeException(nameof(Dimensions), Dimensions, $"{name}: there is one dimension at least.");
        if (!(Regularization > 0 && double.IsFinite(Regularization)))
            throw new ArgumentOutOfRangeException(nameof(Regularization), Regularization, $"{name}: the regularization is positive.");
    }
}
