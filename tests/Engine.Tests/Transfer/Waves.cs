using TransferEngine.Modules;

namespace TransferEngine.Tests.Transfer;

/// <summary>Numbers that make_golden.py makes too.</summary>
internal static class Waves
{
    public static Tensor Of(int seed, params int[] shape) =>
        Tensor.From(Enumerable.Range(0, shape.Aggregate(1, (a, b) => a * b)).Select(i => Math.Sin(seed + 0.7 * i + 0.013 * i * i)).ToArray(), shape);

    public static Tensor Leaf(int seed, params int[] shape)
    {
        var x = Of(seed, shape);
        x.RequiresGrad = true;
        return x;
    }

    /// <summary>A network that answers what it holds, whatever it is asked.</summary>
    public static Module Answer(Tensor answer) => new Function(_ => answer);

    public static Tensor Classes(int n, int classes) => Tensor.From(Enumerable.Range(0, n).Select(i => i % classes).ToArray());

    /// <summary>A small convolutional network in float64 with a head.</summary>
    public static Sequential Network(ulong seed, int classes = 3)
    {
        var draw = new Generator(seed);
        const ElementType type = ElementType.Float64;
        return new(
            ("conv1", new Conv2d(2, 4, 3, padding: 1, generator: draw, type: type)), ("norm1", new BatchNorm2d(4, type: type)), ("act1", Activation.Relu()),
            ("conv2", new Conv2d(4, 6, 3, stride: 2, groups: 2, generator: draw, type: type)), ("act2", Activation.Relu()), ("flat", new Flatten()),
            ("fc", new Linear(6 * 2 * 2, 5, generator: draw, type: type)), ("act3", Activation.Relu()),
            ("head", new Linear(5, classes, generator: draw, type: type)));
    }

    public static Tensor Images(int n = 6) => Of(7, n, 2, 6, 6);

    public static void Near(double wanted, double got, double tolerance = 1e-10) => Xunit.Assert.InRange(Math.Abs(got - wanted), 0, tolerance * Math.Max(1, Math.Abs(wanted)));

    /// <summary>Compares the gradient of a scalar with a central difference along one random direction of all parameters.</summary>
    public static void CheckGradient(Func<Tensor> loss, IReadOnlyList<Tensor> parameters, double tolerance = 1e-7)
    {
        var directions = parameters.Select((parameter, i) => Of(11 + i, [.. parameter.Shape.Span])).ToArray();
        var gradients = Tensor.Gradients(loss(), parameters);
        double analytic = gradients.Zip(directions, (g, d) => (g * d).Sum().Item()).Sum();
        const double h = 1e-6;
        double numeric = (At(h) - At(-h)) / (2 * h);
        Near(numeric, analytic, tolerance);

        double At(double step)
        {
            using var noGrad = new NoGrad();
            for (int i = 0; i < parameters.Count; i++)
                parameters[i].AddInPlace(directions[i], step);
            double value = loss().Item();
            for (int i = 0; i < parameters.Count; i++)
                parameters[i].AddInPlace(directions[i], -step);
            return value;
        }
    }
}
