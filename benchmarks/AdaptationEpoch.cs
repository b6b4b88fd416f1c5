using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Models;
using TransferEngine.Modules;

namespace TransferEngine.Benchmarks;

/// <summary>
/// A pass of an <see cref="Adapter"/> through random images of two domains, trained as in the digits' experiment: DAN, or DANN with a discriminator of two
/// hidden layers of 500. All steps of a pass are alike, so few of them stand for the pass through a larger data set.
/// </summary>
internal static class AdaptationEpoch
{
    private const int DiscriminatorWidth = 500;

    /// <param name="w">With batch, the rows of a batch of each domain, and steps, the steps of a pass.</param>
    /// <param name="generator">The stream of weights and data.</param>
    /// <param name="device">Where.</param>
    public static Action Make(Workload w, Generator generator, Device device)
    {
        int batch = w["batch"], steps = w["steps"];
        var data = new DomainLoader(Loader(1), Loader(2));
        AdaptationMethod method = w.Op == "dan"
            ? new DiscrepancyMethod("DAN", new MaximumMeanDiscrepancy(), schedule: WeightSchedule.Ganin)
            : new DomainAdversary(new Mlp(DigitsNetwork.Bottleneck, [DiscriminatorWidth, DiscriminatorWidth], 1, generator, device));
        var adapter = new Adapter(new Sequential(DigitsNetwork.Features(generator, device)), DigitsNetwork.Head(generator, device), method,
            (logits, classes) => logits.CrossEntropy(classes, labelSmoothing: 0.1));
        var settings = new AdapterSettings
        {
            Steps = steps,
            Optimizer = parameters => new Sgd(parameters, 0.01, momentum: 0.9, weightDecay: 1e-3, nesterov: true),
            Schedule = optimizer => new DannSchedule(optimizer, steps),
        };
        return () => adapter.Fit(data, settings);

        DataLoader Loader(ulong seed) => new(
            new TensorDataset(Tensor.Uniform([batch * steps, 1, DigitsNetwork.Side, DigitsNetwork.Side], generator: generator, device: device),
                Tensor.RandomIntegers([batch * steps], 0, DigitsNetwork.Classes, generator, device)),
            new() { BatchSize = batch, Shuffle = true, Seed = seed, DropLast = true }, device);
    }
}
