// Adds an adaptation loss to a training loop of one's own: two moons are learned from, and the same moons, turned and moved, are classified.
using TransferEngine;
using TransferEngine.Adaptation;
using TransferEngine.Modules;

const int Points = 300, Steps = 300;
var draw = new Generator(1);
var (x, y) = Moons(degrees: 0, shift: 0);
var (targetX, targetY) = Moons(degrees: 20, shift: 0.5f);

double plain = Train(adapt: false), adapted = Train(adapt: true);
Console.WriteLine($"source-only {plain:F3}, mk-mmd {adapted:F3}");
return adapted > plain ? 0 : 1;

double Train(bool adapt)
{
    var start = new Generator(2);
    var features = new Sequential(
        new Linear(2, 64, generator: start), new Function(h => h.Relu()), new Linear(64, 64, generator: start), new Function(h => h.Relu()));
    var head = new Linear(64, 2, generator: start);
    var mmd = new MaximumMeanDiscrepancy();
    var optimizer = new Adam(features.Parameters().Concat(head.Parameters()), 2e-3);
    for (int step = 0; step < Steps; step++)
    {
        using var scope = new TensorScope(); // gives the step's intermediates back at its end
        var sourceFeatures = features.Forward(x);
        var loss = head.Forward(sourceFeatures).CrossEntropy(y);
        if (adapt)
            loss += mmd.Forward(sourceFeatures, features.Forward(targetX)) * (2 * WeightSchedule.Ganin((double)step / Steps));
        optimizer.ZeroGrad();
        loss.Backward();
        optimizer.Step();
    }
    using (new NoGrad())
        return head.Forward(features.Forward(targetX)).ArgMax(1).To(ElementType.Float32).Equal(targetY.To(ElementType.Float32)).Mean().Item();
}

(Tensor Points, Tensor Labels) Moons(double degrees, float shift)
{
    int[] labels = [.. Enumerable.Range(0, Points).Select(i => i % 2)];
    float[] angles = Tensor.Uniform([Points], 0, Math.PI, draw).ToArray<float>(), points = new float[2 * Points];
    var (sin, cos) = Math.SinCos(degrees * Math.PI / 180);
    for (int i = 0; i < Points; i++)
    {
        double across = (labels[i] == 0 ? Math.Cos(angles[i]) : 1 - Math.Cos(angles[i])) - 0.5, up = (labels[i] == 0 ? Math.Sin(angles[i]) : 0.5 - Math.Sin(angles[i])) - 0.25;
        (points[2 * i], points[2 * i + 1]) = ((float)(cos * across - sin * up), (float)(sin * across + cos * up));
    }
    return (Tensor.From(points, [Points, 2]) + Tensor.Normal([Points, 2], 0, 0.08, draw) + Tensor.From([shift, 0f]), Tensor.From(labels));
}
