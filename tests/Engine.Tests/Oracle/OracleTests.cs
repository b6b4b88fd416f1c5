using System.IO.Compression;
using System.Text.Json;

namespace TransferEngine.Tests.Oracle;

/// <summary>Outputs, gradients and optimiser steps against those that PyTorch computed in float64; make_oracle.py beside this file wrote them.</summary>
public class OracleTests
{
    private static readonly JsonElement Data = Read();

    public static TheoryData<string, ElementType> Operators => Named("cases", "op");

    public static TheoryData<string, ElementType> Optimizers => Named("optimisers", "optimiser");

    [Theory, MemberData(nameof(Operators))]
    public void Operator_and_gradients_are_PyTorchs(string name, ElementType type)
    {
        var wrong = new List<string>();
        int number = 0;
        foreach (var item in Data.GetProperty("cases").EnumerateArray().Where(item => item.GetProperty("op").GetString() == name))
        {
            Tensor[] inputs = [.. item.GetProperty("inputs").EnumerateArray().Select(input => Load(input, type))];
            foreach (var input in inputs)
                input.RequiresGrad = true;
            Tensor[] integers = [.. item.GetProperty("integers").EnumerateArray().Select(input => Load(input, ElementType.Int32))];
            var y = OracleOperators.Apply(name, new OracleArguments(item.GetProperty("args"), type), inputs, integers);
            string place = $"{name} {number++} {item.GetProperty("args")}";
            Compare(place + " output", item.GetProperty("output"), y, wrong);
            if (y.Shape == Sizes(item.GetProperty("gradient")))
                y.Backward(Load(item.GetProperty("gradient"), type));
            var gradients = item.GetProperty("gradients").EnumerateArray().ToArray();
            for (int i = 0; i < inputs.Length; i++)
                Compare($"{place} gradient {i}", gradients[i], inputs[i].Grad ?? Tensor.Zeros(inputs[i].Shape, type: type), wrong);
        }
        Assert.True(wrong.Count == 0, $"{wrong.Count} differ:\n{string.Join('\n', wrong.Take(20))}");
    }

    [Theory, MemberData(nameof(Optimizers))]
    public void Five_steps_end_where_PyTorchs_do(string name, ElementType type)
    {
        var wrong = new List<string>();
        foreach (var item in Data.GetProperty("optimisers").EnumerateArray().Where(item => item.GetProperty("optimiser").GetString() == name))
        {
            var parameter = Load(item.GetProperty("start"), type);
            parameter.RequiresGrad = true;
            var options = new OracleArguments(item.GetProperty("options"), type);
            var optimizer = OracleOperators.Optimizer(name, options, parameter, item.GetProperty("lr").GetDouble());
            foreach (var gradient in item.GetProperty("gradients").EnumerateArray())
            {
                parameter.Grad = Load(gradient, type);
                optimizer.Step();
            }
            Compare($"{name} {item.GetProperty("options")}", item.GetProperty("end"), parameter, wrong);
        }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    private static TheoryData<string, ElementType> Named(string list, string key)
    {
        var data = new TheoryData<string, ElementType>();
        foreach (string name in Data.GetProperty(list).EnumerateArray().Select(item => item.GetProperty(key).GetString()!).Distinct())
        {
            data.Add(name, ElementType.Float64);
            data.Add(name, ElementType.Float32);
        }
        return data;
    }

    /// <summary>Notes the first element that is further off than the tolerance times the larger of 1 and what was expected.</summary>
    private static void Compare(string what, JsonElement expected, Tensor tensor, List<string> wrong)
    {
        if (tensor.Shape != Sizes(expected))
        {
            wrong.Add($"{what}: {tensor.Shape}, wanted {Sizes(expected)}");
            return;
        }
        // PyTorch's hardsigmoid multiplies a float64 gradient by 1 / 6 rounded to float32, 3e-8 too large; ours divides by 6.
        double tolerance = tensor.ElementType == ElementType.Float32 ? 1e-4 : what.StartsWith("hardsigmoid", StringComparison.Ordinal) ? 1e-7 : 1e-9;
        double[] values = tensor.Detach().To(ElementType.Float64).ToArray<double>();
        double[] wanted = [.. expected.GetProperty("values").EnumerateArray().Select(v => v.GetDouble())];
        int wrongAt = -1;
        for (int i = 0; i < values.Length && wrongAt < 0; i++)
        {
            if (!(Math.Abs(values[i] - wanted[i]) <= tolerance * Math.Max(1, Math.Abs(wanted[i]))))
                wrongAt = i;
        }
        if (wrongAt >= 0)
            wrong.Add($"{what}: element {wrongAt} of {tensor.Shape} is {values[wrongAt]:r}, wanted {wanted[wrongAt]:r}");
    }

    private static Tensor Load(JsonElement tensor, ElementType type) =>
        Tensor.FromDoubles([.. tensor.GetProperty("values").EnumerateArray().Select(v => v.GetDouble())], Sizes(tensor), Device.Cpu, type);

    private static Shape Sizes(JsonElement tensor) => new([.. tensor.GetProperty("shape").EnumerateArray().Select(v => v.GetInt32())]);

    private static JsonElement Read()
    {
        using var file = new GZipStream(File.OpenRead(Path.Combine(AppContext.BaseDirectory, "Oracle", "oracle.json.gz")), CompressionMode.Decompress);
        return JsonDocument.Parse(file).RootElement;
    }
}
