using TransferEngine.Modules;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Clouds of points around the corners of a polygon, one a class, and the same moved and stretched as the target domain; a small network that knows the first.</summary>
internal static class Blobs
{
    public const int Classes = 3;

    /// <summary>Rows of a domain in random order; of the target's, the second coordinate is stretched and both are moved.</summary>
    public static (Tensor Input, Tensor Label) Draw(int n, int seed, bool isTarget, double noise = 0.35, double shift = 2)
    {
        var random = new Random(seed);
        var points = new float[2 * n];
        var labels = new int[n];
        for (int i = 0; i < n; i++)
        {
            labels[i] = random.Next(Classes);
            double angle = 2 * Math.PI * labels[i] / Classes, x = 2 * Math.Cos(angle) + noise * Normal(), y = 2 * Math.Sin(angle) + noise * Normal();
            (points[2 * i], points[2 * i + 1]) = isTarget ? ((float)(x + shift), (float)(1.5 * y - shift)) : ((float)x, (float)y);
        }
        return (Tensor.From(points, [n, 2]), Tensor.From(labels));

        double Normal() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
    }

    /// <summary>A network with batch normalisation and dropout, trained on the source.</summary>
    public static (Sequential Features, Linear Head) Trained(bool isNormalised = true, int seed = 5)
    {
        var generator = new Generator((ulong)seed);
        Module[] layers = isNormalised
            ? [new Linear(2, 16, generator: generator), new BatchNorm1d(16), Activation.Relu(), new Linear(16, 8, generator: generator), new BatchNorm1d(8), Activation.Relu(), new Dropout(0.1, generator)]
            : [new Linear(2, 16, generator: generator), Activation.Relu(), new Linear(16, 8, generator: generator), Activation.Relu()];
        var features = new Sequential(layers);
        var head = new Linear(8, Classes, generator: generator);
        var model = new Sequential(features, head);
        var optimizer = new Adam(model.Parameters(), 1e-2);
        var (x, y) = Draw(256, seed, false);
        for (int step = 0; step < 150; step++)
        {
            model.Forward(x).CrossEntropy(y).Backward();
            optimizer.Step();
            optimizer.ZeroGrad();
        }
        model.Eval();
        return (features, head);
    }

    public static double Accuracy(Tensor logits, Tensor labels) => logits.ArgMax(1).ToArray<int>().Zip(labels.ToArray<int>(), (a, b) => a == b ? 1.0 : 0).Average();

    public static double Accuracy(Module model, Tensor input, Tensor labels)
    {
        using var recording = new NoGrad();
        return Accuracy(model.Forward(input), labels);
    }

    /// <summary>All bits of all parameters and buffers.</summary>
    public static byte[] Bits(Module model) => [.. model.StateDict().OrderBy(item => item.Key, StringComparer.Ordinal).SelectMany(item => item.Value.ElementType == ElementType.Int32
        ? item.Value.ToArray<int>().SelectMany(BitConverter.GetBytes)
        : item.Value.ToArray<float>().SelectMany(BitConverter.GetBytes))];
}
