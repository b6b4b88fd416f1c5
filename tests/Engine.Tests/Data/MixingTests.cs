using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Tests.Data;

/// <summary>MixUp and CutMix against their formulas in plain doubles, and through the loader.</summary>
public sealed class MixingTests
{
    private const int Rows = 6, Height = 7, Width = 9;

    private static Batch Images(Device? device = null) =>
        new(Tensor.Uniform([Rows, 2, Height, Width], generator: new Generator(1), device: device), Tensor.From(Enumerable.Range(0, Rows).ToArray(), device: device));

    /// <summary>The share that each row keeps, and the row that it is mixed with, read off the targets: each row has a class of its own.</summary>
    private static (double Kept, int Other) Read(float[] target, int row)
    {
        var shares = target.AsSpan(row * Rows, Rows);
        double kept = shares[row];
        for (int other = 0; other < Rows; other++)
        {
            if (other != row && shares[other] > 0)
                return (kept, other);
        }
        return (kept, row);
    }

    [Fact]
    public void MixUp_Blends_Inputs_And_Targets_Alike()
    {
        using var batch = Images();
        float[] own = batch.Input.ToArray<float>();
        int size = own.Length / Rows, mixed = 0;
        for (ulong seed = 0; seed < 20; seed++)
        {
            using var made = new MixUp(Rows, 0.7).Apply(batch, new Generator(seed));
            float[] input = made.Input.ToArray<float>(), target = made.Target.ToArray<float>();
            var others = Enumerable.Range(0, Rows).Select(row => Read(target, row)).ToArray();
            Assert.Equal(Enumerable.Range(0, Rows), others.Select(item => item.Other).Order());
            foreach (var (row, (kept, other)) in others.Index())
            {
                Assert.Equal(1, target.Skip(row * Rows).Take(Rows).Sum(), 1e-6);
                for (int i = 0; i < size; i++)
                    Assert.Equal(kept * own[row * size + i] + (1 - kept) * own[other * size + i], input[row * size + i], 1e-6);
                mixed += other == row ? 0 : 1;
            }
        }
        Assert.InRange(mixed, 80, 119); // a row is mixed with itself once in six
    }

    [Fact]
    public void CutMix_Pastes_One_Rectangle_And_Weighs_Targets_By_Its_Area()
    {
        using var batch = Images();
        float[] own = batch.Input.ToArray<float>();
        var areas = new HashSet<int>();
        for (ulong seed = 0; seed < 40; seed++)
        {
            using var made = new CutMix(Rows).Apply(batch, new Generator(seed));
            float[] input = made.Input.ToArray<float>(), target = made.Target.ToArray<float>();
            HashSet<int>? rectangle = null;
            for (int row = 0; row < Rows; row++)
            {
                var (kept, other) = Read(target, row);
                if (other == row)
                    continue;
                for (int channel = 0; channel < 2; channel++)
                {
                    int start = (row * 2 + channel) * Height * Width, from = (other * 2 + channel) * Height * Width;
                    int[] pasted = [.. Enumerable.Range(0, Height * Width).Where(i => input[start + i] != own[start + i])];
                    Assert.All(pasted, i => Assert.Equal(own[from + i], input[start + i]));
                    Assert.Equal(1 - pasted.Length / (double)(Height * Width), kept, 1e-6);
                    rectangle ??= [.. pasted];
                    Assert.True(rectangle.SetEquals(pasted));
                    int[] lines = [.. pasted.Select(i => i / Width).Distinct()], columns = [.. pasted.Select(i => i % Width).Distinct()];
                    Assert.Equal(pasted.Length, lines.Length * columns.Length);
                }
            }
            areas.Add(rectangle?.Count ?? 0);
        }
        Assert.InRange(areas.Count, 5, 40);
        Assert.InRange(areas.Max(), 20, Height * Width);
    }

    /// <summary>The rectangle's sides are √(1 - λ) of the image's, its middle anywhere, cut at the border.</summary>
    [Fact]
    public void Rectangles_Have_Their_Area_Inside()
    {
        var random = new Generator(3);
        for (int i = 0; i < 500; i++)
        {
            var (top, bottom, left, right) = CutMix.Box(0.75, 100, 200, random);
            Assert.True(top >= 0 && bottom <= 100 && left >= 0 && right <= 200);
            Assert.True(top == 0 || bottom == 100 || bottom - top == 50);
            Assert.True(left == 0 || right == 200 || right - left == 100);
            Assert.InRange(bottom - top, 25, 50);
        }
        Assert.Equal((0, 0), (CutMix.Box(1, 1, 1, random).Top, CutMix.Box(1, 1, 1, random).Bottom));
    }

    [Fact]
    public void The_Loss_Is_That_Of_The_Pair_Of_Targets()
    {
        using var batch = Images();
        using var made = new MixUp(Rows).Apply(batch, new Generator(8));
        float[] target = made.Target.ToArray<float>();
        var pairs = Enumerable.Range(0, Rows).Select(row => Read(target, row)).ToArray();
        double kept = pairs.First(pair => pair.Kept is > 0 and < 1).Kept;
        var logits = Tensor.Normal([Rows, Rows], generator: new Generator(5));
        double wanted = kept * logits.CrossEntropy(batch.Target).Item() + (1 - kept) * logits.CrossEntropy(Tensor.From(pairs.Select(pair => pair.Other).ToArray())).Item();
        Assert.Equal(wanted, logits.CrossEntropy(made.Target).Item(), 1e-5);
        // Mixed targets can be mixed again.
        using var twice = new CutMix(Rows).Apply(made, new Generator(9));
        Assert.All(twice.Target.Sum([1]).ToArray<float>(), sum => Assert.Equal(1, sum, 1e-6));
    }

    [Theory]
    [InlineData(0.2, 0.2)]
    [InlineData(1, 1)]
    [InlineData(0.4, 3)]
    [InlineData(6, 2.5)]
    public void Beta_Numbers_Have_Their_Moments(double alpha, double beta)
    {
        var random = new Generator(11);
        double[] drawn = [.. Enumerable.Range(0, 40_000).Select(_ => random.NextBeta(alpha, beta))];
        double sum = alpha + beta, mean = alpha / sum, second = mean * (alpha + 1) / (sum + 1), third = second * (alpha + 2) / (sum + 2);
        Assert.All(drawn, value => Assert.InRange(value, 0, 1));
        Assert.Equal(mean, drawn.Average(), 0.008);
        Assert.Equal(second, drawn.Average(value => value * value), 0.008);
        Assert.Equal(third, drawn.Average(value => value * value * value), 0.008);
    }

    [Fact]
    public void Beta_Numbers_Bear_Extreme_Parameters()
    {
        var random = new Generator(2);
        foreach (double alpha in (double[])[1e-300, 1e-3, 1e300])
            Assert.InRange(random.NextBeta(alpha, alpha), 0, 1);
        Assert.Throws<ArgumentOutOfRangeException>(() => random.NextBeta(0, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => random.NextBeta(1, double.NaN));
    }

    [Fact]
    public void Loaded_Batches_Depend_On_Seed_Pass_And_Number_Alone_And_Leave_No_Memory()
    {
        using var device = Device.Open("cpu");
        var data = new TensorDataset(Tensor.Uniform([20, 1, 6, 6], generator: new Generator(1)), Tensor.From(Enumerable.Range(0, 20).Select(i => i % 3).ToArray()));
        float[] first = Pass(0, 0);
        Assert.Equal(first, Pass(3, 0));
        Assert.NotEqual(first, Pass(0, 1));
        Assert.Equal(0, device.LiveBytes);

        float[] Pass(int prefetch, int epoch)
        {
            var settings = new DataLoaderSettings { BatchSize = 8, Shuffle = true, Seed = 4, Prefetch = prefetch, BatchTransform = new RandomChoice(new MixUp(3, 0.4), new CutMix(3)) };
            var values = new List<float>();
            foreach (var batch in new DataLoader(data, settings, device) { Epoch = epoch })
            {
                using (batch)
                {
                    Assert.Equal([batch.Input.Shape[0], 3], batch.Target.Shape);
                    values.AddRange(batch.Input.ToArray<float>());
                    values.AddRange(batch.Target.ToArray<float>());
                }
            }
            return [.. values];
        }
    }

    [Fact]
    public void In_Order_Nothing_Is_Mixed()
    {
        var data = new TensorDataset(Tensor.From([.. Enumerable.Range(0, 12).Select(i => (float)i)], [12, 1]), Tensor.From([.. Enumerable.Range(0, 12).Select(i => i % 3)]));
        var loader = new DataLoader(data, new() { BatchSize = 12, BatchTransform = new MixUp(3, 0.4) });
        Assert.NotEqual(data.Inputs.ToArray<float>(), loader.First().Input.ToArray<float>());
        var batch = loader.InOrder().First();
        Assert.Equal(data.Inputs.ToArray<float>(), batch.Input.ToArray<float>());
        Assert.Equal(data.Targets.ToArray<int>(), batch.Target.ToArray<int>());
    }

    [Fact]
    public void A_Trainer_Learns_From_Mixed_Batches_And_Validates_On_Classes()
    {
        var draw = new Generator(1);
        var labels = Tensor.RandomIntegers([400], 0, 3, draw);
        var points = Tensor.Normal([400, 4], generator: draw) + labels.OneHot(4) * 4;
        var data = new TensorDataset(points, labels);
        var model = new Linear(4, 3, generator: draw);
        var trainer = new Trainer(model, new Adam(model.Parameters(), 0.05), (output, target) => output.CrossEntropy(target)) { Settings = new() { Epochs = 8 }, Metrics = { new Accuracy() } };
        var result = trainer.Fit(new DataLoader(data, new() { BatchSize = 50, Shuffle = true, BatchTransform = new MixUp(3, 0.4) }), new DataLoader(data, new() { BatchSize = 100 }));
        Assert.InRange(result.Epochs[^1].Metrics["accuracy"], 0.9, 1);
    }

    [Fact]
    public void What_Can_Not_Be_Mixed_Is_Said()
    {
        using var batch = Images();
        var random = new Generator();
        Assert.Contains("target 5", Assert.Throws<ArgumentOutOfRangeException>(() => new MixUp(5).Apply(batch, random)).Message, StringComparison.Ordinal);
        Assert.Throws<ShapeException>(() => new MixUp(3).Apply(new(batch.Input, Tensor.Zeros([Rows, 4])), random));
        Assert.Throws<ShapeException>(() => new MixUp(3).Apply(new(batch.Input, Tensor.Zeros([Rows], type: ElementType.Int32).Reshape(2, 3)), random));
        Assert.Throws<ShapeException>(() => new CutMix(Rows).Apply(new(batch.Input.Reshape(Rows, -1), batch.Target), random));
        Assert.Throws<ElementTypeException>(() => new MixUp(Rows).Apply(new(batch.Target, batch.Target), random));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MixUp(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CutMix(3, 0));
        Assert.Throws<ArgumentException>(() => new RandomChoice());
        Assert.Throws<ArgumentOutOfRangeException>(() => Tensor.Zeros([2, 3]).CrossEntropy(Tensor.Zeros([2, 3]), ignoreIndex: 1));
        Assert.Throws<ShapeException>(() => Tensor.Zeros([2, 3]).CrossEntropy(Tensor.Zeros([2])));
        Assert.Throws<ElementTypeException>(() => Tensor.Zeros([2, 3]).CrossEntropy(Tensor.Zeros([2, 3], type: ElementType.Float64)));
    }
}
