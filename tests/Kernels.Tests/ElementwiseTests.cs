using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class ElementwiseTests
{
    public static TheoryData<string, int> Cases
    {
        get
        {
            var cases = new TheoryData<string, int>();
            foreach (string device in TestDevices.Names)
                foreach (int n in new[] { 0, 1, 7, 16, 33, 1000, 100_003 })
                    cases.Add(device, n);
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Relu_and_Add_equal_the_scalar_formula(string name, int n)
    {
        var device = TestDevices.Get(name);
        var random = new Random(n);
        float[] x = [.. Enumerable.Range(0, n).Select(_ => random.NextSingle() - 0.5f)];
        var a = New(device, x);
        var y = New(device, new float[n]);
        Elementwise.Map(device, default(Relu), a, y);
        Assert.Equal(x.Select(v => Math.Max(v, 0)), Read(device, y));
        Elementwise.Zip(device, default(Add), a, y, y);
        Assert.Equal(x.Select(v => v + Math.Max(v, 0)), Read(device, y));
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void Strided_operands_are_walked_through_by_their_strides(string name)
    {
        var device = TestDevices.Get(name);
        int[] shape = [2, 3, 2, 5, 2, 19];
        var a = New(device, [.. Enumerable.Range(0, 2 * 3 * 2 * 5 * 2 * 19).Select(i => (float)i)]);
        var b = New(device, [.. Enumerable.Range(0, 3 * 5 * 19).Select(i => 10_000f * i)]);
        int[] sa = [1140, 380, 190, 38, 19, 1], sb = [0, 95, 0, 19, 0, 1];
        var y = New(device, new float[a.Length]);
        Elementwise.Zip(device, default(Add), shape, a, sa, b, sb, y);
        var got = Read(device, y);
        for (int i = 0; i < got.Length; i++)
        {
            int rest = i, at = 0;
            for (int axis = 5; axis >= 0; axis--)
            {
                at += rest % shape[axis] * sb[axis];
                rest /= shape[axis];
            }
            Assert.Equal(i + 10_000f * at, got[i]);
        }
    }

    private static Slice New(ComputeDevice device, float[] values)
    {
        var slice = new Slice(device.Memory.Rent(4L * values.Length, null), 0, values.Length, ElementType.Float32);
        device.CopyIn<float>(values, slice);
        return slice;
    }

    private static float[] Read(ComputeDevice device, Slice slice)
    {
        var values = new float[slice.Length];
        device.CopyOut<float>(slice, values);
        return values;
    }
}
