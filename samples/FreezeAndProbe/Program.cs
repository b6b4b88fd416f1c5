// Learns features on one task with many labels, freezes them, and fits a head for another task on five labels a class.
using TransferEngine;
using TransferEngine.Modules;
using TransferEngine.Transfer;

var draw = new Generator(1);
var mixing = Tensor.Normal([8, 50], generator: draw); // eight hidden causes are seen as fifty mixed and noisy measurements
var (x, causes) = Measure(2000);

// The first task: which of the causes are present?
var model = new Sequential(
    ("features", new Sequential(new Linear(50, 64, generator: draw), new Function(h => h.Relu()), new Linear(64, 32, generator: draw), new Function(h => h.Relu()))),
    ("head", new Linear(32, 8, generator: draw)));
var optimizer = new Adam(model.Parameters(), 3e-3);
for (int step = 0; step < 300; step++)
{
    using var scope = new TensorScope();
    optimizer.ZeroGrad();
    model.Forward(x).BinaryCrossEntropyWithLogits(causes).Backward();
    optimizer.Step();
}

// The second: of the first two causes, none, one, the other, or both?
using var frozen = FreezePolicy.Named("features").Apply(model, optimizer);
var extractor = new FeatureExtractor(model, "features");
var (few, fewCauses) = Measure(200);
int[] classes = Classes(fewCauses);
int[] chosen = [.. Enumerable.Range(0, 4).SelectMany(c => Enumerable.Range(0, classes.Length).Where(i => classes[i] == c).Take(5))];
var rows = Tensor.From(chosen);
var labels = Tensor.From(Array.ConvertAll(chosen, i => classes[i]));
var (test, testCauses) = Measure(1000);
double onFeatures = Score(input => extractor.Extract(input)), onMeasurements = Score(input => input);
Console.WriteLine($"{frozen.Parameters.Count} parameters frozen; 20 labels: {onMeasurements:F3} on the measurements, {onFeatures:F3} on the features");
return onFeatures > onMeasurements ? 0 : 1;

double Score(Func<Tensor, Tensor> features)
{
    using var recording = new NoGrad();
    var head = LinearProbe.Fit(features(few.IndexSelect(0, rows)), labels, classes: 4);
    int[] predicted = head.Forward(features(test)).ArgMax(1).ToArray<int>();
    return predicted.Zip(Classes(testCauses), (p, c) => p == c ? 1.0 : 0.0).Average();
}

(Tensor Measurements, Tensor Causes) Measure(int count)
{
    var present = Tensor.Bernoulli([count, 8], 0.5, draw);
    return (present.MatMul(mixing) + Tensor.Normal([count, 50], 0, 2, draw), present);
}

static int[] Classes(Tensor causes) => [.. causes.ToArray<float>().Chunk(8).Select(row => (int)row[0] + 2 * (int)row[1])];
