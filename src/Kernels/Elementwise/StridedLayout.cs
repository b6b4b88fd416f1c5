namespace TransferEngine.Kernels;

/// <summary>Strides of one operand over the four axes of a <see cref="StridedLayout"/>, in elements; 0 on a broadcast axis.</summary>
internal readonly struct Strides4(int s0, int s1, int s2, int s3)
{
    public readonly int S0 = s0, S1 = s1, S2 = s2, S3 = s3;

    public int At(int axis) => axis switch { 0 => S0, 1 => S1, 2 => S2, _ => S3 };

    public int Row(int i0, int i1, int i2) => i0 * S0 + i1 * S1 + i2 * S2;
}

/// <summary>
/// The iteration space of a strided kernel: at most four axes, the last the fastest, after axes that every operand walks through as one have
/// been merged. What has more axes is split by the host over <see cref="Outer"/>, which the first launch of a kernel rarely sees.
/// </summary>
internal sealed class StridedLayout
{
    private readonly List<int> sizes = [];
    private readonly List<int[]> strides = [];

    /// <param name="shape">The sizes of the axes.</param>
    /// <param name="operands">The strides of each operand over those axes, in elements, 0 where it is broadcast.</param>
    public StridedLayout(ReadOnlySpan<int> shape, params ReadOnlySpan<int[]> operands)
    {
        for (int axis = 0; axis < shape.Length; axis++)
        {
            if (shape[axis] == 1)
                continue;
            var step = new int[operands.Length];
            bool merges = sizes.Count > 0;
            for (int o = 0; o < operands.Length; o++)
            {
                step[o] = operands[o][axis];
                merges = merges && strides[^1][o] == step[o] * shape[axis];
            }
            if (merges)
            {
                sizes[^1] *= shape[axis];
                strides[^1] = step;
            }
            else
            {
                sizes.Add(shape[axis]);
                strides.Add(step);
            }
        }
    }

    /// <summary>The elements of one launch.</summary>
    public int Count => Size(0) * Size(1) * Size(2) * Size(3);

    /// <summary>The launches that cover all axes beyond the last four.</summary>
    public int Outer
    {
        get
        {
            int count = 1;
            for (int axis = 0; axis < sizes.Count - 4; axis++)
                count *= sizes[axis];
            return count;
        }
    }

    /// <summary>The size of one of the last four axes.</summary>
    public int Size(int axis) => Position(axis) is var p && p < 0 ? 1 : sizes[p];

    public Strides4 Strides(int operand) => new(Stride(operand, 0), Stride(operand, 1), Stride(operand, 2), Stride(operand, 3));

    /// <summary>Where an operand starts in the given launch of <see cref="Outer"/>.</summary>
    public int OuterOffset(int operand, int launch)
    {
        int offset = 0;
        for (int axis = sizes.Count - 5; axis >= 0; axis--)
        {
            offset += launch % sizes[axis] * strides[axis][operand];
            launch /= sizes[axis];
        }
        return offset;
    }

    private int Position(int axis) => axis + sizes.Count - 4;

    private int Stride(int operand, int axis) => Position(axis) is var p && p < 0 ? 0 : strides[p][operand];
}
