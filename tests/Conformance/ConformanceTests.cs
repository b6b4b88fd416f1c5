using System.Reflection;
using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Conformance;

/// <summary>Runs the operator table on every machine.</summary>
public partial class ConformanceTests
{
    /// <summary>Public methods of Tensor that return tensors and are no operators, each with its reason.</summary>
    private static readonly Dictionary<string, string> NotOperators = new()
    {
        ["From"] = "creation",
        ["Scalar"] = "creation",
        ["Full"] = "creation",
        ["Zeros"] = "creation",
        ["Ones"] = "creation",
        ["Arange"] = "creation",
        ["Eye"] = "creation",
        ["To"] = "copies between devices and types; its own tests",
        ["Detach"] = "the same elements",
        ["KeepAlive"] = "the same tensor",
        ["Gradients"] = "autograd; its own tests",
        ["get_Grad"] = "a property",
        ["FillInPlace"] = "changes in place; its own tests",
        ["CopyInPlace"] = "changes in place; its own tests",
        ["AddInPlace"] = "changes in place; its own tests",
        ["MultiplyInPlace"] = "changes in place; its own tests",
    };

    public static TheoryData<string, string> Cases
    {
        get
        {
            var cases = new TheoryData<string, string>();
            foreach (string machine in TestDevices.Names)
                foreach (string name in OperatorTable.Operators)
                    cases.Add(machine, name);
            return cases;
        }
    }

    public static TheoryData<string> Operators => [.. OperatorTable.Operators];

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Forward_equals_the_reference_and_itself(string machine, string name)
    {
        var device = EngineDevices.Get(machine);
        foreach (var row in RowsOf(name).Where(row => machine != "emulator" || !row.IsLarge))
        {
            var drawn = row.Draw();
            var want = row.Reference(drawn);
            foreach (var type in new[] { ElementType.Float32, ElementType.Float64 })
            {
                using var scope = new TensorScope();
                var got = row.Expression(Inputs(row, drawn, device, type, needGradient: false));
                Assert.True(got.Shape == want.Shape, $"{row} on {machine} {type}: shape {got.Shape}, wanted {new Shape(want.Shape)}");
                AssertClose($"{row} on {machine} {type}", Doubles(got), want.Values, type == ElementType.Float32 ? row.Tolerance32 : row.Tolerance64);
                var again = row.Expression(Inputs(row, drawn, device, type, needGradient: false));
                Assert.True(Doubles(got).AsSpan().SequenceEqual(Doubles(again)), $"{row} on {machine} {type}: the same call gave other bits");
            }
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Gradient_equals_central_differences_of_the_reference(string machine, string name)
    {
        var device = EngineDevices.Get(machine);
        foreach (var row in RowsOf(name).Where(row => row.Differentiable && (machine != "emulator" || !row.IsLarge)))
        {
            using var scope = new TensorScope();
            var drawn = row.Draw();
            var random = new Random(7);
            var inputs = Inputs(row, drawn, device, ElementType.Float64, needGradient: true);
            var leaves = inputs.Where(x => x.RequiresGrad).ToArray();
            var y = row.Expression(inputs);
            Assert.True(y.RequiresGrad, $"{row}: the output needs no gradient though its inputs do");
            var weights = NdArray.Build(y.Shape.ToArray(), _ => random.NextDouble() * 2 - 1);
            var gradients = Tensor.Gradients(y, leaves, Tensor.From(weights.Values, y.Shape, device), retainGraph: true);

            // One random direction u: sum(gradient * u) against (f(x + hu) - f(x - hu)) / 2h, weighted.
            const double H = 1e-6;
            var directions = drawn.Select((x, i) => NdArray.Build(x.Shape, _ => !row.Learns(i) ? 0 : random.NextDouble() * 2 - 1)).ToArray();
            double want = (Weighted(row.Reference(Moved(drawn, directions, H)), weights) - Weighted(row.Reference(Moved(drawn, directions, -H)), weights)) / (2 * H);
            var used = directions.Where((_, i) => row.Learns(i)).ToArray();
            double got = Dot(gradients, used), scale = Scale(gradients, used);
            Assert.True(Math.Abs(got - want) <= row.GradientTolerance * (1 + scale), $"{row} on {machine}: directional derivative {got:R}, central difference {want:R}");

            // In float32 the same gradient, to float32's precision.
            var narrow = Inputs(row, drawn, device, ElementType.Float32, needGradient: true);
            var yn = row.Expression(narrow);
            var gn = Tensor.Gradients(yn, [.. narrow.Where(x => x.RequiresGrad)], Tensor.From(Array.ConvertAll(weights.Values, v => (float)v), yn.Shape, device));
            for (int i = 0; i < gn.Length; i++)
                AssertClose($"gradient {i} of {row} on {machine} in Float32", Doubles(gn[i]), Doubles(gradients[i]), 50 * row.Tolerance32);

            if (!row.TwiceDifferentiable || row.IsLarge)
                continue;
            // The recorded backward pass gives the same gradient, and its own gradient equals central differences of the first.
            var recorded = Tensor.Gradients(y, leaves, Tensor.From(weights.Values, y.Shape, device), createGraph: true);
            for (int i = 0; i < recorded.Length; i++)
                AssertClose($"recorded gradient {i} of {row} on {machine}", Doubles(recorded[i]), Doubles(gradients[i]), 1e-9);
            if (machine != "direct" || !recorded.Any(g => g.RequiresGrad))
                continue;
            var probes = used.Select(u => NdArray.Build(u.Shape, _ => random.NextDouble() * 2 - 1)).ToArray();
            Tensor? total = null;
            for (int i = 0; i < recorded.Length; i++)
            {
                var part = (recorded[i] * Tensor.From(probes[i].Values, recorded[i].Shape, device)).Sum();
                total = total is null ? part : total + part;
            }
            var second = Tensor.Gradients(total!, leaves);
            double up = FirstGradient(row, Moved(drawn, directions, 1e-5), weights, probes, device), down = FirstGradient(row, Moved(drawn, directions, -1e-5), weights, probes, device);
            double gotSecond = Dot(second, used), wantSecond = (up - down) / 2e-5;
            Assert.True(Math.Abs(gotSecond - wantSecond) <= 1e-4 * (1 + Scale(second, used)), $"{row}: second derivative {gotSecond:R}, central difference of the first {wantSecond:R}");
        }
    }

    [Fact]
    public void Every_public_operator_has_a_row()
    {
        var names = typeof(Tensor).GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly)
            .Where(method => ReturnsTensors(method.ReturnType)).Select(method => method.Name).Distinct();
        var missing = names.Except(NotOperators.Keys).Except(OperatorTable.Operators).Order().ToArray();
        Assert.True(missing.Length == 0, $"No row in the operator table for: {string.Join(", ", missing)}");
    }

    private static bool ReturnsTensors(Type type) =>
        type == typeof(Tensor) || type == typeof(Tensor[]) || (type.IsGenericType && type.GetGenericArguments().Contains(typeof(Tensor)) && type.Name.StartsWith("ValueTuple", StringComparison.Ordinal));

    private static IEnumerable<OperatorRow> RowsOf(string name) => OperatorTable.Rows.Where(row => row.Operator == name);

    private static Tensor[] Inputs(OperatorRow row, NdArray[] drawn, Device device, ElementType type, bool needGradient) => [.. drawn.Select((x, i) =>
    {
        if (row.Integers.Contains(i))
            return Tensor.FromDoubles(x.Values, x.Shape, device, ElementType.Int32);
        if (!row.Transposed)
        {
            var plain = Tensor.FromDoubles(x.Values, x.Shape, device, type);
            plain.RequiresGrad = needGradient && row.Learns(i);
            return plain;
        }
        var swapped = NdArray.Build([.. x.Shape[..^2], x.Shape[^1], x.Shape[^2]], index => x[[.. index[..^2], index[^1], index[^2]]]);
        var view = Tensor.FromDoubles(swapped.Values, swapped.Shape, device, type).Transpose();
        view.RequiresGrad = needGradient && row.Learns(i);
        return view;
    })];

    private static double FirstGradient(OperatorRow row, NdArray[] at, NdArray weights, NdArray[] probes, Device device)
    {
        var inputs = Inputs(row, at, device, ElementType.Float64, needGradient: true);
        var y = row.Expression(inputs);
        return Dot(Tensor.Gradients(y, [.. inputs.Where(x => x.RequiresGrad)], Tensor.From(weights.Values, y.Shape, device)), probes);
    }

    private static NdArray[] Moved(NdArray[] inputs, NdArray[] directions, double step) =>
        [.. inputs.Select((x, i) => new NdArray(x.Shape, [.. x.Values.Select((v, j) => v + step * directions[i].Values[j])]))];

    private static double Weighted(NdArray y, NdArray weights) => y.Values.Zip(weights.Values, (a, b) => a * b).Sum();

    private static double Dot(Tensor[] gradients, NdArray[] directions) => gradients.Zip(directions, (g, u) => Doubles(g).Zip(u.Values, (a, b) => a * b).Sum()).Sum();

    private static double Scale(Tensor[] gradients, NdArray[] directions) => gradients.Zip(directions, (g, u) => Doubles(g).Zip(u.Values, (a, b) => Math.Abs(a * b)).Sum()).Sum();

    private static double[] Doubles(Tensor x) => x.ElementType switch
    {
        ElementType.Float64 => x.ToArray<double>(),
        ElementType.Float32 => Array.ConvertAll(x.ToArray<float>(), v => (double)v),
        _ => Array.ConvertAll(x.ToArray<int>(), v => (double)v),
    };

    private static void AssertClose(string what, double[] got, double[] want, double tolerance)
    {
        Assert.Equal(want.Length, got.Length);
        double scale = 1 + want.Where(double.IsFinite).Select(Math.Abs).DefaultIfEmpty(0).Max();
        for (int i = 0; i < got.Length; i++)
        {
            bool close = double.IsFinite(want[i]) ? Math.Abs(got[i] - want[i]) <= tolerance * scale : got[i].Equals(want[i]);
            Assert.True(close, $"{what}: element {i} is {got[i]:R}, wanted {want[i]:R}");
        }
    }
}
