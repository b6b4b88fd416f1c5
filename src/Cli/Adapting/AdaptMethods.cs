using TransferEngine.Adaptation;
using TransferEngine.Modules;

namespace TransferEngine.Cli;

/// <summary>What a method is made for.</summary>
internal sealed record MethodContext(AdaptTask Task, double Weight, Generator Generator, Device Device)
{
    private const int DiscriminatorWidth = 512;

    public int Features => Task.Features;

    public int Classes => Task.Classes.Count;

    /// <summary>Takes rows of some length to a logit.</summary>
    public Module Discriminator(int inputs) => new Sequential(
        new Linear(inputs, DiscriminatorWidth, generator: Generator, device: Device), Activation.Relu(),
        new Linear(DiscriminatorWidth, DiscriminatorWidth, generator: Generator, device: Device), Activation.Relu(),
        new Linear(DiscriminatorWidth, 1, generator: Generator, device: Device));

    /// <summary>CDAN, by the outer product of features and predictions, or by random maps where that is long.</summary>
    public AdaptationMethod Conditional(bool entropy)
    {
        var map = JointMap.Choose(Features, Classes, generator: Generator, device: Device);
        return new ConditionalDomainAdversary(Discriminator(map.Outputs(Features, Classes)), entropy, Weight, map: map);
    }

    /// <summary>A second head of the task's form.</summary>
    public Module Head() => new Linear(Features, Classes, generator: Generator, device: Device);
}

/// <summary>A method by its name on the command line.</summary>
/// <param name="Name">The name.</param>
/// <param name="Weight">What it weighs unless asked otherwise.</param>
/// <param name="Make">Makes it; null of SHOT, which goes on from a model of the source by a training of its own.</param>
internal sealed record AdaptMethod(string Name, double Weight, Func<MethodContext, AdaptationMethod>? Make)
{
    /// <summary>All that adapt knows, with the weights of their papers where these give one for features of any length.</summary>
    public static IReadOnlyList<AdaptMethod> All { get; } =
    [
        new("dan", 1, make => new DiscrepancyMethod("dan", new MaximumMeanDiscrepancy(), make.Weight, WeightSchedule.Ganin)),
        new("jan", 1, make => new JointMaximumMeanDiscrepancy(make.Weight, WeightSchedule.Ganin)),
        new("dsan", 0.5, make => new LocalMaximumMeanDiscrepancy(make.Weight, WeightSchedule.Ganin)),
        new("coral", 10, make => new DiscrepancyMethod("coral", new DeepCoral(), make.Weight, WeightSchedule.Ganin)),
        new("homm", 1, make => new DiscrepancyMethod("homm", new HigherOrderMomentMatching(), make.Weight, WeightSchedule.Ganin)),
        new("sinkhorn", 1, make => new DiscrepancyMethod("sinkhorn", new SinkhornDivergence(), make.Weight, WeightSchedule.Ganin)),
        new("deepjdot", 1, make => new DeepJdot(make.Weight, WeightSchedule.Ganin)),
        new("afn", 0.05, make => new AdaptiveFeatureNorm(make.Weight)),
        new("bnm", 1, make => new BatchNuclearNorm(make.Weight, WeightSchedule.Ganin)),
        new("mcc", 1, make => new MinimumClassConfusion(make.Weight, WeightSchedule.Ganin)),
        new("dann", 1, make => new DomainAdversary(make.Discriminator(make.Features), make.Weight)),
        new("cdan", 1, make => make.Conditional(entropy: false)),
        new("cdan-e", 1, make => make.Conditional(entropy: true)),
        new("daan", 1, make => new DynamicAdversary(make.Discriminator(make.Features), [.. Enumerable.Range(0, make.Classes).Select(_ => make.Discriminator(make.Features))], make.Weight)),
        new("adda", 1, make => new Adda(make.Discriminator(make.Features))),
        new("wdgrl", 1, make => new WassersteinCritic(make.Discriminator(make.Features), make.Weight, generator: make.Generator)),
        new("mcd", 1, make => new MaximumClassifierDiscrepancy(make.Head(), weight: make.Weight)),
        new("swd", 1, make => MaximumClassifierDiscrepancy.SlicedWasserstein(make.Head(), weight: make.Weight, generator: make.Generator)),
        new("mdd", 0.1, make => new MarginDisparityDiscrepancy(make.Head(), weight: make.Weight)),
        new("pada", 1, make => new PartialAdversary(make.Discriminator(make.Features), make.Weight)),
        new("iwan", 0.1, make => new ImportanceWeightedAdversary(make.Discriminator(make.Features), make.Discriminator(make.Features), make.Weight)),
        new("shot", 0.3, null),
    ];

    public static AdaptMethod Find(string name) => All.FirstOrDefault(method => method.Name == name)
        ?? throw new ArgumentException($"There is no method '{name}'. There are: {string.Join(", ", All.Select(method => method.Name))}.");
}
