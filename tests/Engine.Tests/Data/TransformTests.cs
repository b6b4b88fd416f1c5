using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using static TransferEngine.Tests.Data.TransformReference;

namespace TransferEngine.Tests.Data;

public sealed class TransformTests
{
    [Fact]
    public void Normalize_Takes_Each_Channel_By_Its_Own()
    {
        var transform = new Normalize([1, 10], [2, 5]);
        Assert.Equal([0, 0.5f, 0, 1], Apply(transform, [1, 2, 10, 15], [2, 1, 2]));
        Assert.Throws<ShapeException>(() => transform.Output([3, 1, 2]));
        Assert.Throws<ArgumentException>(() => new Normalize([1], [0]));
    }

    [Fact]
    public void A_Flip_Mirrors_Each_Line()
    {
        Assert.Equal([2, 1, 4, 3], Apply(new RandomHorizontalFlip(1), [1, 2, 3, 4], [1, 2, 2]));
        Assert.Equal([1, 2, 3, 4], Apply(new RandomHorizontalFlip(0), [1, 2, 3, 4], [1, 2, 2]));
        Assert.Throws<ShapeException>(() => new RandomHorizontalFlip().Output([4]));
    }

    [Fact]
    public void A_Crop_Takes_Each_Window_And_Pads_With_Zeros()
    {
        float[] row = [1, 2, 3, 4];
        var windows = Enumerable.Range(0, 200).Select(seed => string.Join(",", Apply(new RandomCrop(2, 2, 1), row, [1, 2, 2], (ulong)seed))).Distinct();
        Assert.Equal(["0,0,0,1", "0,0,1,2", "0,0,2,0", "0,1,0,3", "0,3,0,0", "1,2,3,4", "2,0,4,0", "3,4,0,0", "4,0,0,0"], windows.Order(StringComparer.Ordinal));
        var shifts = Enumerable.Range(0, 200).Select(seed => string.Join(",", Apply(new RandomShift(1), row, [1, 2, 2], (ulong)seed))).Distinct();
        Assert.Equal(windows.Order(StringComparer.Ordinal), shifts.Order(StringComparer.Ordinal));
        Assert.All(Apply(new RandomShift(50), row, [1, 2, 2], 3), value => Assert.InRange(value, 0, 4));
        Assert.Equal([3, 1, 1], new RandomCrop(1, 1).Output([3, 5, 4]));
        Assert.Throws<ShapeException>(() => new RandomCrop(5, 2, 1).Output([1, 2, 2]));
    }

    [Fact]
    public void A_Quarter_Turn_Moves_Pixels_And_None_Leaves_Them()
    {
        float[] row = [1, 2, 3, 4, 5, 6, 7, 8, 9], turned = new float[9];
        RandomRotation.Turn(row, [1, 3, 3], turned, 0, 1);
        Assert.Equal([3, 6, 9, 2, 5, 8, 1, 4, 7], turned);
        Assert.Equal(row, Apply(new RandomRotation(0), row, [1, 3, 3]));
        Assert.Equal(5, Apply(new RandomRotation(180), row, [1, 3, 3], 4)[4], 4);
    }

    [Fact]
    public void Loaded_Rows_Depend_On_Seed_Pass_And_Row_Alone()
    {
        var data = new TensorDataset(Tensor.Arange(0, 20 * 3 * 25).Reshape(20, 3, 5, 5), Tensor.From(Enumerable.Range(0, 20).ToArray()));
        var transform = new Compose(new RandomHorizontalFlip(), new RandomRotation(20), new RandomCrop(4, 5, 1), new Normalize([1, 2, 3], [4, 5, 6]));
        var first = Rows(3, false, 0, 0);
        Assert.Equal(20, first.Count);
        foreach (var other in new[] { Rows(20, false, 0, 0), Rows(7, true, 2, 0) })
            Assert.All(first, item => Assert.Equal(item.Value, other[item.Key]));
        Assert.NotEqual(first[0], Rows(3, false, 0, 1)[0]);

        Dictionary<int, float[]> Rows(int batchSize, bool shuffle, int prefetch, int epoch)
        {
            var rows = new Dictionary<int, float[]>();
            var settings = new DataLoaderSettings { BatchSize = batchSize, Shuffle = shuffle, Prefetch = prefetch, Transform = transform, Seed = 3 };
            foreach (var batch in new DataLoader(data, settings) { Epoch = epoch })
            {
                Assert.Equal([batch.Target.Elements, 3, 4, 5], batch.Input.Shape);
                var values = batch.Input.ToArray<float>().Chunk(60).ToArray();
                foreach (var (row, value) in batch.Target.ToArray<int>().Zip(values))
                    rows.Add(row, value);
                batch.Dispose();
            }
            return rows;
        }
    }

    [Fact]
    public void Rows_That_A_Transform_Can_Not_Take_Are_An_Error_Of_Their_Shape()
    {
        var data = new TensorDataset(Tensor.Zeros([2, 3]), Tensor.From([0, 1]));
        Assert.Throws<ShapeException>(() => new DataLoader(data, new() { Transform = new RandomHorizontalFlip(), Prefetch = 1 }).First());
        var whole = new TensorDataset(Tensor.From([0, 1]), Tensor.From([0, 1]));
        Assert.Throws<ElementTypeException>(() => new DataLoader(whole, new() { Transform = new Compose() }).First());
        Assert.Equal([0, 0, 0], new DataLoader(data, new() { Transform = new Compose(), BatchSize = 1 }).First().Input.ToArray<float>());
    }
}
