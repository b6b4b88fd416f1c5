using TransferEngine.Adaptation;
using TransferEngine.Modules;

namespace TransferEngine.Benchmarks;

/// <summary>The methods of the deep experiments.</summary>
internal static class Recipes
{
    /// <summary>All methods, each with the weights that model selection chooses among.</summary>
    /// <param name="shotEpochs">SHOT's passes, for its recipe.</param>
    public static IReadOnlyList<DeepMethod> Searched(string shotEpochs) =>
    [
        new(new("source-only", "the source alone, as many steps as the others."), null, [1]),
        new(new("DAN", "MK-MMD, biased, five kernels, on the features; weight 0.1, 1 or 10."), (_, make) => new DiscrepancyMethod("DAN", new MaximumMeanDiscrepancy(), make.Weight, WeightSchedule.Ganin), [0.1, 1, 10]),
        new(new("Deep CORAL", "the paper's CORAL on the features; weight 1, 10 or 100."), (_, make) => new DiscrepancyMethod("Deep CORAL", new DeepCoral(), make.Weight, WeightSchedule.Ganin), [1, 10, 100]),
        new(new("DANN", "a discriminator of two hidden layers on the features; weight 0.1, 0.3 or 1."), (task, make) => new DomainAdversary(Discriminator(task.Width, task.DiscriminatorWidth, make), make.Weight), [0.1, 0.3, 1]),
        new(new("CDAN+E", "the same discriminator on the outer product of features and predictions; weight 0.1, 0.3 or 1."),
            (task, make) => new ConditionalDomainAdversary(Discriminator(task.Width * task.Classes, task.DiscriminatorWidth, make), entropy: true, make.Weight), [0.1, 0.3, 1]),
        new(new("MCD", "four updates of the features a step, a third of the steps; weight 0.1, 0.3 or 1."),
            (task, make) => new MaximumClassifierDiscrepancy(new Linear(task.Width, task.Classes, generator: make.Generator, device: make.Device), 4, make.Weight), [0.1, 0.3, 1], 1 / 3.0),
        new(new("SHOT", $"from the source-only model, {shotEpochs} passes through the target; pseudo-labels weigh 0, 0.3 or 0.6."), null, [0, 1, 2]),
    ];

    /// <summary>Takes rows to a logit: two hidden layers with ReLU and dropout, as in CDAN's code, with Glorot's first weights.</summary>
    public static Module Discriminator(int inputs, int width, MethodSettings make)
    {
        Linear Layer(int from, int to)
        {
            var layer = new Linear(from, to, generator: make.Generator, device: make.Device);
            Initialization.XavierNormal(layer.Weight, generator: make.Generator);
            Initialization.Constant(layer.Bias!, 0);
            return layer;
        }
        return new Sequential(Layer(inputs, width), Activation.Relu(), new Dropout(0.5, make.Generator), Layer(width, width), Activation.Relu(), new Dropout(0.5, make.Generator), Layer(width, 1));
    }
}
