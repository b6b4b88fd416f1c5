using TransferEngine.Tests;

namespace TransferEngine.Conformance;

/// <summary>Products under autocast on every machine, against float64 products of operands that the host has rounded; so are their gradients.</summary>
public class AutocastTests
{
    /// <summary>A product, and what else it takes that is not rounded.</summary>
    private sealed record Case(string Name, int[] A, int[] B, int[]? Bias, Func<Tensor, Tensor, Tensor?, Tensor> Product)
    {
        /// <summary>The axes of the result that a bias is added over.</summary>
        public int[] BiasAxes { get; init; } = [0];
    }

    private static readonly Case[] Products =
    [
        new("MatMul", [13, 40], [40, 21], null, (a, b, _) => a.MatMul(b)),
        new("MatMul vector", [40], [40, 21], null, (a, b, _) => a.MatMul(b)),
        new("MatMul batch", [2, 3, 7, 9], [3, 9, 5], null, (a, b, _) => a.MatMul(b)),
        new("MatMul folded", [2, 3, 9], [9, 5], null, (a, b, _) => a.MatMul(b)),
        new("MatMul transposed", [40, 13], [21, 40], null, (a, b, _) => a.Transpose().MatMul(b.Transpose())),
        new("MatMul repeated", [1, 6], [6, 4], null, (a, b, _) => a.Expand([5, 6]).MatMul(b)),
        new("MatMul parts", [8, 12], [12, 6], null, (a, b, _) => a.Narrow(1, 2, 5, 2).MatMul(b.Narrow(0, 1, 5))),
        new("Linear", [11, 18], [7, 18], [7], (a, b, bias) => a.Linear(b, bias)),
        new("Linear no bias", [2, 3, 18], [7, 18], null, (a, b, _) => a.Linear(b)),
        new("Conv2d", [2, 3, 8, 9], [4, 3, 3, 3], [4], (a, b, bias) => a.Conv2d(b, bias, padding: 1)) { BiasAxes = [0, 2, 3] },
        new("Conv2d strided", [2, 4, 9, 9], [6, 2, 3, 2], null, (a, b, _) => a.Conv2d(b, stride: 2, groups: 2, dilation: (2, 1))),
        new("Conv2d depthwise", [2, 4, 7, 7], [4, 1, 3, 3], [4], (a, b, bias) => a.Conv2d(b, bias, groups: 4)) { BiasAxes = [0, 2, 3] },
        new("ConvTranspose2d", [2, 4, 5, 5], [4, 3, 3, 3], [3], (a, b, bias) => a.ConvTranspose2d(b, bias, stride: 2, padding: 1, outputPadding: 1)) { BiasAxes = [0, 2, 3] },
        new("Conv1d", [2, 3, 17], [5, 3, 4], [5], (a, b, bias) => a.Conv1d(b, bias, stride: 2)) { BiasAxes = [0, 2] },
    ];

    public static TheoryData<string, ElementType> Cases => NarrowTests.Cases;

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Products_and_gradients_are_those_of_rounded_operands(string machine, ElementType type)
    {
        var device = EngineDevices.Get(machine);
        // ILGPU's emulator takes a minute for all; it runs the code that OpenCL runs.
        foreach (var product in Products.Where(its => machine != "emulator" || its.Name is "MatMul vector" or "MatMul parts" or "Conv1d"))
        {
            using var scope = new TensorScope();
            var random = new Random(product.Name.Length);
            float[] a = Draw(random, product.A), b = Draw(random, product.B), bias = Draw(random, product.Bias ?? [0]);
            Tensor[] leaves = [Leaf(a, product.A, device), Leaf(b, product.B, device), .. product.Bias is null ? (Tensor[])[] : [Leaf(bias, product.Bias, device)]];
            Tensor y;
            using (new Autocast(type))
                y = product.Product(leaves[0], leaves[1], leaves.ElementAtOrDefault(2));
            Assert.Equal(ElementType.Float32, y.ElementType);
            float[] g = Draw(random, y.Shape.ToArray());
            var gradients = Tensor.Gradients(y, leaves, Tensor.From(g, y.Shape, device)); // outside of the scope

            Tensor[] wide = [Wide(Round(a, type), product.A), Wide(Round(b, type), product.B), .. product.Bias is null ? (Tensor[])[] : [Wide(bias, product.Bias)]];
            var want = product.Product(wide[0], wide[1], wide.ElementAtOrDefault(2));
            var wanted = Tensor.Gradients(want, wide[..2], Wide(Round(g, type), y.Shape.ToArray()));
            if (product.Bias is not null)
                wanted = [.. wanted, Wide(g, y.Shape.ToArray()).Sum(product.BiasAxes)]; // its gradient is no product, so that is not rounded
            Close($"{product.Name} on {machine} in {type}", y, want);
            for (int i = 0; i < gradients.Length; i++)
                Close($"gradient {i} of {product.Name} on {machine} in {type}", gradients[i], wanted[i]);
            // Not to be told from plain products, were nothing rounded.
            var plain = product.Product(Wide(a, product.A), Wide(b, product.B), wide.ElementAtOrDefault(2));
            Assert.True(Difference(y, plain) > 20 * Difference(y, want), $"{product.Name} on {machine} in {type} is as near to the product of operands that are not rounded");
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Attention_is_that_of_rounded_queries_keys_and_values(string machine, ElementType type)
    {
        var device = EngineDevices.Get(machine);
        var random = new Random(3);
        int[][] shapes = [[2, 5, 8], [2, 6, 8], [2, 6, 4], [5, 6]];
        float[][] values = [.. shapes.Select(shape => Draw(random, shape))];
        Tensor[] leaves = [.. values.Select((x, i) => Leaf(x, shapes[i], device))], wide = [.. values.Select((x, i) => Wide(i < 3 ? Round(x, type) : x, shapes[i]))];
        Tensor y, masked;
        using (new Autocast(type))
        {
            y = (leaves[0] * 1).ScaledDotProductAttention(leaves[1] * 1, leaves[2]); // operands that are saved in 16 bits, and one that is not
            masked = leaves[0].ScaledDotProductAttention(leaves[1], leaves[2], leaves[3] * 1);
        }
        float[] g = Draw(random, y.Shape.ToArray());
        Tensor incoming = Tensor.From(g, y.Shape, device), rounded = Wide(Round(g, type), y.Shape.ToArray());
        var want = wide[0].ScaledDotProductAttention(wide[1], wide[2]);
        Close($"attention on {machine} in {type}", y, want);
        Tensor[] got = Tensor.Gradients(y, leaves[..3], incoming), wanted = Tensor.Gradients(want, wide[..3], rounded);
        for (int i = 0; i < got.Length; i++)
            Close($"gradient {i} of attention on {machine} in {type}", got[i], wanted[i]);
        // A mask that is learned: its gradient is composed of products, which round weights too.
        want = wide[0].ScaledDotProductAttention(wide[1], wide[2], wide[3]);
        Close($"masked attention on {machine} in {type}", masked, want);
        (got, wanted) = (Tensor.Gradients(masked, leaves, incoming), Tensor.Gradients(want, wide, rounded));
        for (int i = 0; i < got.Length; i++)
            Assert.InRange(Difference(got[i], wanted[i]), 0, type == ElementType.BFloat16 ? 0.02 : 0.002);
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void The_recorded_backward_pass_has_the_bits_of_the_other_and_can_be_differentiated(string machine, ElementType type)
    {
        var device = EngineDevices.Get(machine);
        var random = new Random(5);
        float[] x = Draw(random, [5, 6]), w = Draw(random, [4, 6]);
        Tensor[] leaves = [Leaf(x, [5, 6], device), Leaf(w, [4, 6], device)];
        Tensor Loss(Tensor[] at, ElementType cast)
        {
            using var autocast = new Autocast(cast);
            return at[0].Linear(at[1]).Tanh().Square().Sum();
        }
        var plain = Tensor.Gradients(Loss(leaves, type), leaves);
        var recorded = Tensor.Gradients(Loss(leaves, type), leaves, createGraph: true);
        for (int i = 0; i < 2; i++)
            Close("recorded", recorded[i], plain[i].To(Device.Cpu).To(ElementType.Float64));
        var second = Tensor.Gradients(recorded[0].Square().Sum(), leaves);
        Tensor[] wide = [Wide(x, [5, 6]), Wide(w, [4, 6])];
        var wanted = Tensor.Gradients(Tensor.Gradients(Loss(wide, ElementType.Float32), wide, createGraph: true)[0].Square().Sum(), wide);
        for (int i = 0; i < 2; i++)
            Assert.InRange(Difference(second[i], wanted[i]), 1e-7, type == ElementType.BFloat16 ? 0.05 : 0.006);
    }

    private static float[] Draw(Random random, int[] shape) => [.. Enumerable.Range(0, shape.Aggregate(1, (a, b) => a * b)).Select(_ => random.NextSingle() * 2 - 1)];

    private static float[] Round(float[] values, ElementType type) =>
        Array.ConvertAll(values, value => type == ElementType.Float16 ? (float)(Half)value : (float)(BFloat16)value);

    private static Tensor Leaf(float[] values, int[] shape, Device device)
    {
        var x = Tensor.From(values, shape, device);
        x.RequiresGrad = true;
        return x;
    }

    private static Tensor Wide(float[] values, int[] shape)
    {
        var x = Tensor.From(Array.ConvertAll(values, value => (double)value), shape);
        x.RequiresGrad = true;
        return x;
    }

    /// <summary>The norm of the difference over that of what is wanted.</summary>
    private static double Difference(Tensor got, Tensor want)
    {
        double[] values = want.ToArray<double>();
        double norm = Math.Sqrt(values.Sum(value => value * value)), away = Math.Sqrt(got.ToArray<float>().Zip(values, (a, b) => (a - b) * (a - b)).Sum());
        return away / norm;
    }

    private static void Close(string what, Tensor got, Tensor want)
    {
        Assert.True(got.Shape == want.Shape, $"{what}: {got.Shape}, wanted {want.Shape}");
        float[] values = got.ToArray<float>();
        double[] wanted = want.ToArray<double>();
        double scale = 1 + wanted.Select(Math.Abs).DefaultIfEmpty(0).Max();
        for (int i = 0; i < values.Length; i++)
            Assert.True(Math.Abs(values[i] - wanted[i]) <= 4e-6 * scale, $"{what}: element {i} is {values[i]:R}, wanted {wanted[i]:R}");
    }
}
