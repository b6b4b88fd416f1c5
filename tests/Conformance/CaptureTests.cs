using TransferEngine.Tests;

namespace TransferEngine.Conformance;

/// <summary>Every operator, recorded once and replayed on other numbers, gives the bits that it gives itself, forward and backward, on every machine.</summary>
public partial class ConformanceTests
{
    /// <summary>Operators that a captured step refuses, each with its reason.</summary>
    private static readonly Dictionary<string, string> Refused = new()
    {
        ["RandomPermutation"] = "is drawn on the host",
    };

    [SkippableTheory, MemberData(nameof(Cases))]
    public void A_replay_equals_the_operator_itself(string machine, string name)
    {
        var device = EngineDevices.Get(machine);
        foreach (var row in RowsOf(name).Where(row => machine != "emulator" || !row.IsLarge))
        {
            using var scope = new TensorScope();
            NdArray[] drawn = row.Draw(), other = [.. drawn.Select(x => new NdArray(x.Shape, [.. x.Values.Reverse()]))];
            Tensor[] inputs = Inputs(row, drawn, device, ElementType.Float32, row.Differentiable), others = Inputs(row, other, device, ElementType.Float32, row.Differentiable);
            string what = $"{row} on {machine}";
            Step(row, inputs);
            Clear(inputs);
            using var record = new StepRecord(device);
            if (Refused.ContainsKey(name))
            {
                Assert.Contains(name["Random".Length..], Assert.Throws<CaptureException>(() => record.Record(() => Step(row, inputs))).Message);
                continue;
            }
            record.Record(() => Step(row, inputs));
            record.Record(() => Step(row, inputs));
            record.Deliver();
            Clear(inputs);
            for (int i = 0; i < inputs.Length; i++)
                inputs[i].Assign(others[i]);
            var start = Generator.Default.State;
            record.Replay();
            record.Deliver();
            Generator.Default.State = start;
            Same(what, Step(row, others), record.Result);
            for (int i = 0; i < inputs.Length; i++)
            {
                Assert.True(others[i].Grad is null == inputs[i].Grad is null, $"{what}: input {i} has a gradient only the one way");
                if (inputs[i].Grad is not null)
                    Same($"{what}, gradient {i}", others[i].Grad!, inputs[i].Grad!);
            }
        }
    }

    /// <summary>The operator, and the gradients of the sum of its output.</summary>
    private static Tensor Step(OperatorRow row, Tensor[] inputs)
    {
        var y = row.Expression(inputs);
        if (y.RequiresGrad)
            y.Backward(Tensor.Ones(y.Shape, y.Device, y.ElementType));
        return y.Detach();
    }

    private static void Clear(Tensor[] inputs)
    {
        foreach (var input in inputs)
            input.Grad = null;
    }

    private static void Same(string what, Tensor want, Tensor got) =>
        Assert.True(want.Shape == got.Shape && Doubles(want).AsSpan().SequenceEqual(Doubles(got)), $"{what}: replayed {got}, wanted {want}");
}
