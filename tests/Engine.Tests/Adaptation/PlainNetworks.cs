using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Small networks beside what they compute in plain doubles, and steps over given rows.</summary>
internal static class PlainNetworks
{
    public static Linear Net(int inputs, int outputs, int seed, ElementType type = ElementType.Float64) => (Linear)new Linear(inputs, outputs, generator: new Generator((ulong)seed)).To(type);

    /// <summary>What a layer makes of a row.</summary>
    public static double[] Apply(Linear layer, double[] row)
    {
        double[] weight = layer.Weight.ToArray<double>(), bias = layer.Bias!.ToArray<double>();
        return [.. bias.Select((b, o) => b + row.Select((x, i) => x * weight[o * row.Length + i]).Sum())];
    }

    public static double[][] Apply(Linear layer, double[][] rows) => [.. rows.Select(row => Apply(layer, row))];

    public static double LogSigmoid(double x) => -Math.Log(1 + Math.Exp(-x));

    public static double CrossEntropy(double[][] logits, int[] classes) => -logits.Zip(classes, (row, c) => Math.Log(Softmax(row)[c])).Average();

    public static int ArgMax(double[] row) => Array.IndexOf(row, row.Max());

    /// <summary>A step of given features and logits, whose features' gradients a reversal by <paramref name="weight"/> turns into plain ones.</summary>
    public static AdaptationStep Given(Tensor source, Tensor target, Tensor sourceLogits, Tensor targetLogits, int[] classes, double weight = 1, double progress = 0.3) =>
        new(source.ReverseGradient(1 / weight), sourceLogits, Tensor.From(classes), target.ReverseGradient(1 / weight), targetLogits, progress);

    /// <summary>A step of given inputs.</summary>
    public static AdaptationStep Of(Module features, Module head, double[][] source, int[] classes, double[][] target, long number = 0, int steps = 1) =>
        new(new AdaptationRun(features, head) { Steps = steps }, new DomainBatch(new Batch(From(source), Tensor.From(classes)), From(target)), number);

    /// <summary>Compares the gradient of a loss by a parameter with central differences.</summary>
    public static void CheckParameter(Tensor parameter, Func<Tensor> loss, double step = 1e-6, double tolerance = 1e-7)
    {
        double[] values = parameter.ToArray<double>(), gradient = Tensor.Gradients(loss(), [parameter])[0].ToArray<double>();
        for (int i = 0; i < values.Length; i++)
        {
            double At(double change)
            {
                double[] moved = [.. values];
                moved[i] += change;
                parameter.Assign(Tensor.From(moved, parameter.Shape));
                return loss().Item();
            }
            AssertClose((At(step) - At(-step)) / (2 * step), gradient[i], tolerance);
        }
        parameter.Assign(Tensor.From(values, parameter.Shape));
    }
}
