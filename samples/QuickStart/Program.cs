using TransferEngine;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;

using var device = Device.OpenBest();
var draw = new Generator(1);
var labels = Tensor.RandomIntegers([1000], 0, 2, draw, device); // two classes, each a cloud of points in the plane
var source = Tensor.Normal([1000, 2], generator: draw, device: device) + labels.OneHot(2) * 6;
var target = Tensor.Normal([1000, 2], generator: draw, device: device) + labels.OneHot(2) * 6 + Tensor.From([4f, -1f], device);

foreach (var method in new AdaptationMethod[] { new SourceOnly(), new DiscrepancyMethod("mk-mmd", new MaximumMeanDiscrepancy()) })
{
    var start = new Generator(2);
    var features = new Sequential(new Linear(2, 32, generator: start, device: device), new Function(x => x.Relu()));
    var adapter = new Adapter(features, new Linear(32, 2, generator: start, device: device), method);
    adapter.Fit(new DomainLoader(Batches(source), Batches(target)), new() { Steps = 400 }); // the target's labels are never looked at
    double accuracy = adapter.Predict(target).To(ElementType.Float32).Equal(labels.To(ElementType.Float32)).Mean().Item();
    Console.WriteLine($"{method.Name}: {accuracy:P1} of the target is classified right");
}

DataLoader Batches(Tensor points) => new(new TensorDataset(points, labels), new() { BatchSize = 64, Shuffle = true, DropLast = true }, device);
