using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class IndexingTests
{
    private static readonly IndexedAxis[] Axes =
    [
        new(1, 5, 7, 3), new(3, 4, 0, 2), new(1, 1, 1, 1), new(6, 5, 2, 1), new(2, 9, 11, 37), new(1, 30, 200, 64), new(2, 3, 4, 0), new(300, 11, 1, 1), new(3, 7, 5, 129),
    ];

    public static TheoryData<string, int, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, ElementType>();
            foreach (string device in TestDevices.Names)
                for (int axis = 0; axis < Axes.Length; axis++)
                    foreach (var type in new[] { ElementType.Float32, ElementType.Float64 })
                        cases.Add(device, axis, type);
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Select_and_its_gradient_follow_the_indices_and_skip_those_out_of_range(string name, int row, ElementType type)
    {
        var device = TestDevices.Get(name);
        var axis = Axes[row];
        var random = new Random(row);
        int[] index = [.. Enumerable.Range(0, axis.Count).Select(_ => random.Next(-1, axis.Size + 1))];
        Check(device, axis, type, random, (_, j, _) => index[j], Data.New(device, index), Indexing.Select, Indexing.SelectAdd);
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Gather_and_scatter_add_follow_the_indices_and_skip_those_out_of_range(string name, int row, ElementType type)
    {
        var device = TestDevices.Get(name);
        var axis = Axes[row];
        var random = new Random(row);
        int[] index = [.. Enumerable.Range(0, axis.Outer * axis.Count * axis.Inner).Select(_ => random.Next(-1, axis.Size + 1))];
        Check(device, axis, type, random, (o, j, i) => index[(o * axis.Count + j) * axis.Inner + i], Data.New(device, index), Indexing.Gather, Indexing.ScatterAdd);
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void One_hot_has_one_in_each_row_whose_index_is_in_range(string name)
    {
        var device = TestDevices.Get(name);
        foreach (var type in Enum.GetValues<ElementType>().Where(type => !type.IsNarrow()))
        {
            var y = Data.New(device, [.. Enumerable.Repeat(7.0, 12)], type);
            Indexing.OneHot(device, Data.New(device, 2, -1, 0, 3), 3, y);
            Assert.Equal([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0], Data.Read(device, y));
        }
    }

    private delegate void Operation(ComputeDevice device, IndexedAxis axis, in Slice x, in Slice index, in Slice y);

    private static void Check(
        ComputeDevice device, IndexedAxis axis, ElementType type, Random random, Func<int, int, int, int> place, Slice index, Operation read, Operation add)
    {
        double[] source = Numbers(axis.Outer * axis.Size * axis.Inner), indexed = Numbers(axis.Outer * axis.Count * axis.Inner);
        var (gathered, added) = (new double[indexed.Length], (double[])source.Clone());
        for (int o = 0; o < axis.Outer; o++)
            for (int j = 0; j < axis.Count; j++)
                for (int i = 0; i < axis.Inner; i++)
                {
                    int k = place(o, j, i), at = (o * axis.Count + j) * axis.Inner + i, there = (o * axis.Size + k) * axis.Inner + i;
                    if (k < 0 || k >= axis.Size)
                        continue;
                    gathered[at] = source[there];
                    added[there] += indexed[at];
                }
        var x = Data.New(device, source, type);
        var y = Data.New(device, [.. indexed.Select(_ => -1.0)], type);
        read(device, axis, x, index, y);
        Assert.Equal(gathered, Data.Read(device, y));
        add(device, axis, Data.New(device, indexed, type), index, x);
        Assert.Equal(added, Data.Read(device, x));

        // Small integers, whose sums are exact in any order.
        double[] Numbers(int n) => [.. Enumerable.Range(0, n).Select(_ => (double)random.Next(-50, 50))];
    }
}
