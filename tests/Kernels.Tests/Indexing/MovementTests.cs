using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class MovementTests
{
    /// <summary>Shape of the result, strides of the source, start in the source.</summary>
    private static readonly (int[] Shape, int[] Strides, int Start)[] Walks =
    [
        ([0, 3], [3, 1], 0),
        ([], [], 0),
        ([7], [1], 2),
        ([7], [-1], 6),
        ([5, 9], [1, 5], 0),
        ([67, 45], [1, 67], 0),
        ([2, 33, 70], [2310, 1, 33], 0),
        ([3, 5, 4, 2], [40, 1, 10, 5], 0),
        ([2, 3, 2, 5, 2, 19], [1140, 1, 570, 114, 57, 3], 0),
        ([4, 1, 6], [0, 3, 1], 1),
        ([4, 6], [1, 0], 0),
        ([3, 20], [40, 2], 1),
    ];

    public static TheoryData<string, int, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, ElementType>();
            foreach (string device in TestDevices.Names)
                for (int walk = 0; walk < Walks.Length; walk++)
                    foreach (var type in Enum.GetValues<ElementType>())
                        cases.Add(device, walk, type);
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Strided_copies_follow_the_strides_and_go_back(string name, int walk, ElementType type)
    {
        var device = TestDevices.Get(name);
        var (shape, strides, start) = Walks[walk];
        int n = shape.Aggregate(1, (a, b) => a * b);
        int[] places = [.. Enumerable.Range(0, n).Select(i => Place(i, shape, strides))];
        int length = start + (n == 0 ? 1 : places.Max()) + 1;
        double[] values = [.. Enumerable.Range(0, length).Select(i => (type.IsNarrow() ? i % 127 : i) + 1.0)];
        var x = Data.New(device, values, type);
        var y = Data.New(device, new double[n], type);
        Movement.CopyStrided(device, shape, x with { Offset = start }, strides, y);
        Assert.Equal(places.Select(p => values[start + p]), Data.Read(device, y));
        if (n == 0 || strides.Contains(0))
            return;
        var back = Data.New(device, new double[length], type);
        Movement.CopyInto(device, shape, y, back with { Offset = start }, strides);
        var expected = new double[length];
        foreach (int p in places)
            expected[start + p] = values[start + p];
        Assert.Equal(expected, Data.Read(device, back));
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void Fill_sets_every_element_of_every_type(string name)
    {
        var device = TestDevices.Get(name);
        foreach (var type in Enum.GetValues<ElementType>())
        {
            var y = Data.New(device, new double[37], type);
            Movement.Fill(device, y, -3);
            Assert.All(Data.Read(device, y), v => Assert.Equal(-3, v));
        }
    }

    private static int Place(int i, int[] shape, int[] strides)
    {
        int at = 0;
        for (int axis = shape.Length - 1; axis >= 0; i /= shape[axis--])
            at += i % shape[axis] * strides[axis];
        return at;
    }
}
