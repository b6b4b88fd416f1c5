using TransferEngine.Adaptation;
using TransferEngine.Tests;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation.Classical;

/// <summary>Every classical method, whole, on every machine but the emulator, on which the many small products take minutes: it tells two shifted clouds apart and answers on the machine that it was given.</summary>
public class DeviceTests
{
    public static TheoryData<string> Devices => [.. TestDevices.Names.Where(name => name != "emulator")];

    [SkippableTheory, MemberData(nameof(Devices))]
    public void Every_method_runs_where_its_data_is(string name)
    {
        var device = EngineDevices.Get(name);
        int[] labels = [.. Enumerable.Range(0, 20).Select(i => i % 2)];
        double[][] source = Clouds(1, 0), target = Clouds(2, 0.5);
        var components = new ComponentSettings { Dimensions = 2 };
        IFeatureClassifier nearest = new NearestNeighbors(), machine = new LinearSvm();
        IClassicalMethod[] methods =
        [
            new ClassicalPipeline(nearest), new ClassicalPipeline(new NearestNeighbors(3)), new ClassicalPipeline(machine),
            new ClassicalPipeline(nearest, new PrincipalComponents(2)), new ClassicalPipeline(nearest, new SubspaceAlignment(2)), new ClassicalPipeline(nearest, new GeodesicFlowKernel(2)),
            new ClassicalPipeline(nearest, new TransferComponents(components)), new ClassicalPipeline(nearest, new TransferComponents(components with { Kernel = new GaussianKernel() })),
            new ClassicalPipeline(nearest, new JointDistributionAdaptation(components)), new ClassicalPipeline(nearest, new BalancedDistributionAdaptation(settings: components)),
            new ClassicalPipeline(nearest, new JointGeometricalStatisticalAlignment(new() { Dimensions = 2, Iterations = 2 })),
            new ClassicalPipeline(machine, new CorrelationAlignment()), new ClassicalPipeline(nearest, new TransportMapping()), new ClassicalPipeline(nearest, new TransportMapping(0.05)),
            new ClassicalPipeline(machine, weighting: new KernelMeanMatching()), new ClassicalPipeline(machine, weighting: new KullbackLeiblerImportance()),
            new ClassicalPipeline(machine, weighting: new LogisticImportance()), new ManifoldEmbeddedAlignment(new() { Dimensions = 2, Neighbors = 4 }),
        ];
        foreach (var type in new[] { ElementType.Float32, ElementType.Float64 })
        {
            var data = new DomainFeatures(From(source).To(device).To(type), Tensor.From(labels, device), From(target).To(device).To(type));
            foreach (var method in methods)
            {
                var predicted = method.Fit(data).Predict(data.Target);
                Assert.Same(device, predicted.Device);
                double right = predicted.ToArray<int>().Zip(labels, (a, b) => a == b ? 1.0 : 0).Average();
                Assert.True(right >= 0.9, $"{method.Name} in {type}: {right}");
            }
        }
    }

    private static double[][] Clouds(int seed, double shift) => [.. Rows(20, 4, seed, shift).Select((row, i) => row.Select((x, j) => x / 2 + (j == i % 2 ? 3 : 0)).ToArray())];
}
