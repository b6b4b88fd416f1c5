using TransferEngine.Data;
using TransferEngine.Serialization;

namespace TransferEngine.Tests.Data;

public sealed class LoaderTests
{
    /// <summary>Rows that hold their numbers; one of them may fail.</summary>
    private sealed class Numbers(int count, int bad = -1) : IDataset
    {
        public int Count => count;

        public Batch Read(ReadOnlySpan<int> rows, Device device)
        {
            if (rows.Contains(bad))
                throw new DataFormatException($"row-{bad}.png", "damaged.");
            return new(Tensor.From(Array.ConvertAll(rows.ToArray(), row => (float)row), [rows.Length, 1], device), Tensor.From(rows, [rows.Length], device));
        }
    }

    private static List<int[]> Pass(DataLoader loader)
    {
        var batches = new List<int[]>();
        foreach (var batch in loader)
        {
            batches.Add(batch.Target.ToArray<int>());
            Assert.Equal(batch.Target.ToArray<int>().Select(row => (float)row), batch.Input.ToArray<float>());
            batch.Dispose();
        }
        return batches;
    }

    [Theory]
    [InlineData(10, 3, false, new[] { 3, 3, 3, 1 })]
    [InlineData(10, 3, true, new[] { 3, 3, 3 })]
    [InlineData(9, 3, false, new[] { 3, 3, 3 })]
    [InlineData(2, 3, true, new int[0])]
    [InlineData(0, 3, false, new int[0])]
    [InlineData(5, int.MaxValue, false, new[] { 5 })]
    public void Batches_Have_Their_Sizes(int rows, int size, bool dropLast, int[] wanted)
    {
        foreach (int prefetch in (int[])[0, 2])
        {
            var loader = new DataLoader(new Numbers(rows), new() { BatchSize = size, DropLast = dropLast, Prefetch = prefetch });
            Assert.Equal(wanted.Length, loader.Count);
            Assert.Equal(wanted, Pass(loader).Select(batch => batch.Length));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void Batches_Tell_Their_Rows(int prefetch)
    {
        var settings = new DataLoaderSettings { BatchSize = 4, Shuffle = true, Seed = 3, Prefetch = prefetch };
        var domains = new DomainLoader(new DataLoader(new Numbers(20), settings), new DataLoader(new Subset(new Numbers(100), [.. Enumerable.Range(50, 11)]), settings));
        foreach (var batch in domains.Concat(domains))
        {
            Assert.Equal(batch.Sources[0].Rows, batch.Sources[0].Target.ToArray<int>());
            Assert.Equal(batch.TargetRows.ToArray().Select(row => row + 50f), batch.TargetInput!.ToArray<float>()); // numbers in the loader's own data set
            batch.Dispose();
        }
        Assert.Empty(new Batch(Tensor.Zeros([1]), Tensor.Zeros([1])).Rows.ToArray());
    }

    [Fact]
    public void Orders_Depend_On_Seed_And_Pass_Alone()
    {
        var plain = new DataLoader(new Numbers(101), new() { BatchSize = 8, Shuffle = true, Seed = 5 });
        var ahead = new DataLoader(new Numbers(101), new() { BatchSize = 8, Shuffle = true, Seed = 5, Prefetch = 3 });
        List<int[]> first = Pass(plain), second = Pass(plain);
        Assert.Equal(first, Pass(ahead));
        Assert.Equal(second, Pass(ahead));
        Assert.NotEqual(first, second);
        Assert.Equal(Enumerable.Range(0, 101), second.SelectMany(batch => batch).Order());
        Assert.Equal(second, Pass(new(new Numbers(101), plain.Settings) { Epoch = 1 }));
        Assert.NotEqual(first, Pass(new(new Numbers(101), plain.Settings with { Seed = 6 })));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4)]
    public void Leaving_Early_Gives_All_Memory_Back(int prefetch)
    {
        using var device = Device.Open("cpu");
        var loader = new DataLoader(new Numbers(1000), new() { BatchSize = 10, Prefetch = prefetch }, device);
        foreach (var batch in loader)
        {
            batch.Dispose();
            if (prefetch > 0)
                SpinWait.SpinUntil(() => device.LiveBytes > 0, 5000);
            break;
        }
        Assert.Equal(0, device.LiveBytes);
        loader.GetEnumerator().Dispose();
        Assert.Equal(0, device.LiveBytes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public void An_Error_In_Reading_Surfaces_After_The_Batches_Before_It(int prefetch)
    {
        using var device = Device.Open("cpu");
        int seen = 0;
        var error = Assert.Throws<DataFormatException>(() =>
        {
            foreach (var batch in new DataLoader(new Numbers(50, bad: 33), new() { BatchSize = 10, Prefetch = prefetch }, device))
            {
                seen++;
                batch.Dispose();
            }
        });
        Assert.Equal(3, seen);
        Assert.Equal("row-33.png", error.File);
        Assert.Equal(0, device.LiveBytes);
    }

    [Fact]
    public void Pairs_Go_On_Until_The_Longer_Domain_Ends()
    {
        using var device = Device.Open("cpu");
        DataLoader source = new(new Numbers(10), new() { BatchSize = 4 }, device), target = new(new Numbers(3), new() { BatchSize = 2, Prefetch = 2 }, device);
        var pairs = new DomainLoader(source, target);
        var seen = new List<string>();
        foreach (var pair in pairs)
        {
            seen.Add($"{string.Join(",", pair.Sources[0].Target.ToArray<int>())} with {string.Join(",", pair.TargetInput!.ToArray<float>())}");
            pair.Dispose();
        }
        Assert.Equal(["0,1,2,3 with 0,1", "4,5,6,7 with 2", "8,9 with 0,1"], seen);
        Assert.Equal(0, device.LiveBytes);
        Assert.Empty(new DomainLoader(source, new(new Numbers(0))));
        Assert.Throws<DataFormatException>(() =>
        {
            foreach (var pair in new DomainLoader(source, new(new Numbers(6, bad: 5), new() { BatchSize = 2 }, device)))
                pair.Dispose();
        });
        Assert.Equal(0, device.LiveBytes);
    }

    [Fact]
    public void Rows_That_Are_Not_There_Are_Refused()
    {
        var data = new TensorDataset(Tensor.Zeros([3, 2]), Tensor.From([0, 1, 2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.Read([3], Device.Cpu));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Subset(data, [0, -1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Subset(data, [2, 1]).Read([2], Device.Cpu));
        Assert.Equal([1, 2], new Subset(data, [2, 1]).Read([1, 0], Device.Cpu).Target.ToArray<int>());
        Assert.Equal([0, 2], data.Read([], Device.Cpu).Input.Shape);
        Assert.Throws<ShapeException>(() => new TensorDataset(Tensor.Zeros([3, 2]), Tensor.From([0, 1])));
    }

    [Fact]
    public void A_Stratified_Split_Is_Exact()
    {
        int[] labels = [.. Enumerable.Range(0, 100).Select(row => row < 50 ? 7 : row < 80 ? 0 : row < 95 ? -1 : 3)];
        var (first, second) = Splits.Stratified(labels, 0.4, seed: 9);
        foreach (var (label, count) in new[] { (7, 20), (0, 12), (-1, 6), (3, 2) })
            Assert.Equal(count, first.Count(row => labels[row] == label));
        Assert.Equal(Enumerable.Range(0, 100), first.Concat(second).Order());
        Assert.Equal(first, Splits.Stratified(labels, 0.4, seed: 9).First);
        Assert.NotEqual(first, Splits.Stratified(labels, 0.4, seed: 10).First);
        Assert.Equal(100, Splits.Stratified(labels, 1).First.Length);
        Assert.Empty(Splits.Stratified([], 0.5).First);
        var (drawn, others) = Splits.PerClass(labels, 5);
        Assert.All(drawn.GroupBy(row => labels[row]), group => Assert.Equal(5, group.Count()));
        Assert.Equal((20, 80), (drawn.Length, others.Length));
        Assert.Throws<ArgumentException>(() => Splits.PerClass(labels, 6));
        Assert.Throws<ArgumentOutOfRangeException>(() => Splits.Stratified(labels, double.NaN));
    }
}
