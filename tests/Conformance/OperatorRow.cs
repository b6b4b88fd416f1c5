namespace TransferEngine.Conformance;

/// <summary>
/// One case of one public operator: inputs, the tensor expression, and a plain double reference. The same row drives the forward check on
/// every machine and type, the gradient against central differences of the reference, gradients of gradients, determinism, and PTX.
/// </summary>
internal sealed record OperatorRow(string Operator, string Case, int[][] Inputs, Func<Tensor[], Tensor> Expression, Func<NdArray[], NdArray> Reference)
{
    /// <summary>The values of the inputs: uniform in this range.</summary>
    public (double Low, double High) Range { get; init; } = (-2, 2);

    /// <summary>Moves a drawn value off a kink, or onto whatever the operator needs (an index, a probability); gets the input's number.</summary>
    public Func<double, int, double> Domain { get; init; } = static (value, _) => value;

    /// <summary>Inputs that are Int32: their drawn values are truncated, and no gradient is wanted.</summary>
    public int[] Integers { get; init; } = [];

    /// <summary>Inputs that are passed without a gradient and not moved in central differences, such as masks.</summary>
    public int[] Still { get; init; } = [];

    /// <summary>Inputs that are passed as transposed views (their last two axes exchanged twice, once in memory), to test strides.</summary>
    public bool Transposed { get; init; }

    /// <summary>Whether there is a gradient at all.</summary>
    public bool Differentiable { get; init; } = true;

    /// <summary>Whether gradients of gradients are checked.</summary>
    public bool TwiceDifferentiable { get; init; } = true;

    /// <summary>The error allowed in float32, relative to the largest reference value and 1.</summary>
    public double Tolerance32 { get; init; } = 4e-6;

    /// <summary>The error allowed in float64, likewise.</summary>
    public double Tolerance64 { get; init; } = 1e-11;

    /// <summary>The error allowed in gradients against central differences in double.</summary>
    public double GradientTolerance { get; init; } = 1e-6;

    /// <summary>Whether it is too large for ILGPU's CPU accelerator and for central differences of the reference in CI's time.</summary>
    public bool IsLarge => Inputs.Sum(shape => shape.Aggregate(1L, (a, b) => a * b)) > 3_000;

    /// <summary>Whether an input gets a gradient.</summary>
    public bool Learns(int input) => !Integers.Contains(input) && !Still.Contains(input);

    public string Name => $"{Operator} {Case} {string.Join(" ", Inputs.Select(shape => $"[{string.Join(",", shape)}]"))}{(Transposed ? " transposed" : "")}";

    /// <summary>Rows of a function of one tensor, over the table of shapes: scalar, empty, one, odd, past every vector and chunk, and a view.</summary>
    public static IEnumerable<OperatorRow> Unary(string name, Func<Tensor, Tensor> expression, Func<double, double> reference, Func<OperatorRow, OperatorRow>? settings = null)
    {
        int[][] shapes = [[], [0], [1], [7], [3, 5], [2, 3, 1, 17], [33_000]];
        foreach (var shape in shapes)
            yield return Set(new OperatorRow(name, "", [shape], x => expression(x[0]), r => r[0].Map(reference)));
        yield return Set(new OperatorRow(name, "", [[5, 7]], x => expression(x[0]), r => r[0].Map(reference)) { Transposed = true });

        OperatorRow Set(OperatorRow row) => settings?.Invoke(row) ?? row;
    }

    /// <summary>Rows of a function of two tensors, over the table of pairs of shapes: alike, broadcast either way, on several axes, empty, large.</summary>
    public static IEnumerable<OperatorRow> Binary(string name, Func<Tensor, Tensor, Tensor> expression, Func<double, double, double> reference, Func<OperatorRow, OperatorRow>? settings = null)
    {
        int[][][] shapes =
        [
            [[], []], [[0], [0]], [[1], [1]], [[7], [7]], [[3, 5], [3, 5]], [[3, 5], [5]], [[5], [3, 5]], [[3, 1], [1, 17]], [[2, 3, 4, 5], [1, 3, 1, 1]],
            [[2, 1, 4, 1], [3, 1, 33]], [[0, 3], [1, 3]], [[4, 19], []], [[150, 223], [150, 223]], [[150, 223], [223]], [[2, 1, 2, 1, 2, 1, 3], [1, 2, 1, 2, 1, 2, 1]],
        ];
        foreach (var pair in shapes)
            yield return Set(new OperatorRow(name, "", pair, x => expression(x[0], x[1]), r => r[0].Zip(r[1], reference)));
        yield return Set(new OperatorRow(name, "", [[5, 7], [5, 7]], x => expression(x[0], x[1]), r => r[0].Zip(r[1], reference)) { Transposed = true });

        OperatorRow Set(OperatorRow row) => settings?.Invoke(row) ?? row;
    }

    /// <summary>The values of the inputs, the same for each call.</summary>
    public NdArray[] Draw()
    {
        var random = new Random(Name.Aggregate(17, (hash, c) => hash * 31 + c));
        return [.. Inputs.Select((shape, i) => NdArray.Build(shape, _ =>
        {
            double value = Domain(Range.Low + (Range.High - Range.Low) * random.NextDouble(), i);
            // Rounded to float32, so that every type starts from the same numbers.
            return Integers.Contains(i) ? Math.Truncate(value) : (float)value;
        }))];
    }

    public override string ToString() => Name;
}

/// <summary>A family of rows; every subclass is found by itself.</summary>
internal abstract class RowFamily
{
    public abstract IEnumerable<OperatorRow> Rows { get; }
}

/// <summary>The one table of operator cases.</summary>
internal static class OperatorTable
{
    public static IReadOnlyList<OperatorRow> Rows { get; } =
        [.. typeof(OperatorTable).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(RowFamily))).OrderBy(type => type.Name, StringComparer.Ordinal)
            .SelectMany(type => ((RowFamily)Activator.CreateInstance(type)!).Rows)];

    /// <summary>Theory data: the operators, each of which one test case runs with all its rows.</summary>
    public static IEnumerable<string> Operators => Rows.Select(row => row.Operator).Distinct();
}
