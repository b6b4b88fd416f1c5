namespace TransferEngine.Adaptation;

/// <summary>
/// The negative-transfer alarm: whether an adapted model looks worse than one trained on the source alone, by the vote of a panel of validators. Each that
/// scores the two differently has one vote; the alarm is raised where more of them prefer the source-only model. A model whose numbers are not finite has all
/// votes against it.
/// </summary>
/// <remarks>Negative transfer as in Wang, Dai, Póczos and Carbonell, Characterizing and Avoiding Negative Transfer, CVPR 2019; the vote is ours.</remarks>
/// <param name="Worse">The validators that score the adapted model below the source-only one.</param>
/// <param name="Better">Those that score it above.</param>
public sealed record NegativeTransferVote(IReadOnlyList<string> Worse, IReadOnlyList<string> Better)
{
    /// <summary>
    /// Who votes unless others are asked: the best of each kind in the study of docs/validators.md, of predictions, of clusters and of distances. Validators that measure
    /// the same thing would outvote the others, and those that look at the source's risk rise against every adaptation.
    /// </summary>
    public static IReadOnlyList<Validator> Panel { get; } = [new NuclearNormValidator(), new ClassClusterValidator(), new SilhouetteValidator()];

    /// <summary>Whether the adapted model looks worse.</summary>
    public bool IsAlarm => Worse.Count > Better.Count;

    /// <summary>Counts the votes. A validator that did not score both, or could not score the source-only model, has none.</summary>
    /// <param name="adapted">The adapted model's scores by the validators' names.</param>
    /// <param name="baseline">The source-only model's.</param>
    /// <param name="voters">Who votes; <see cref="Panel"/> if null.</param>
    public static NegativeTransferVote Count(IReadOnlyDictionary<string, double> adapted, IReadOnlyDictionary<string, double> baseline, IReadOnlyList<Validator>? voters = null)
    {
        ArgumentNullException.ThrowIfNull(adapted);
        ArgumentNullException.ThrowIfNull(baseline);
        List<string> worse = [], better = [];
        foreach (string name in (voters ?? Panel).Select(validator => validator.Name))
        {
            if (!adapted.TryGetValue(name, out double score) || !baseline.TryGetValue(name, out double reference) || double.IsNaN(reference) || score == reference)
                continue;
            (score > reference ? better : worse).Add(name); // NaN is not above anything
        }
        return new(worse, better);
    }

    /// <summary>The verdict in a line.</summary>
    public override string ToString() => IsAlarm
        ? $"looks worse than source-only to {Worse.Count} of {Worse.Count + Better.Count} validators: {string.Join(", ", Worse)}"
        : $"looks better than source-only to {Better.Count} of {Worse.Count + Better.Count} validators";
}
