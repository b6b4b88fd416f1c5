using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Tests.Serialization;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

public sealed class FeatureCacheTests
{
    private readonly Sequential model = new(
        ("features", new Sequential(new Linear(3, 5, generator: new(1)), new BatchNorm1d(5), new Dropout(0.5, new(2)))),
        ("head", new Linear(5, 2, generator: new(3))));

    private readonly TensorDataset data = new(Tensor.Uniform([10, 3], generator: new(4)), Tensor.From([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]));

    [Fact]
    public void Holds_The_Features_Of_All_Rows_In_Evaluation_Mode()
    {
        using var cache = new FeatureCache(new FeatureExtractor(model, "features"), data, batchSize: 4);
        float[] cached = cache.Features.ToArray<float>();
        Assert.True(model.IsTraining);
        Assert.False(cache.Features.RequiresGrad);
        model.Eval();
        Assert.Equal(model.Children[0].Module.Forward(data.Inputs).ToArray<float>(), cached);
        Assert.Equal(data.Targets.ToArray<int>(), cache.Targets.ToArray<int>());
        Assert.Equal(1, cache.Computations);
    }

    [Fact]
    public void Is_Computed_Anew_When_What_It_Depends_On_Changes_And_Not_Otherwise()
    {
        using var cache = new FeatureCache(new FeatureExtractor(model, "features.1"), data, batchSize: 4);
        cache.Compute();
        // The head trains: the features hold.
        var head = (Linear)model.Children[1].Module;
        var optimizer = new Sgd(head.Parameters(), 0.1);
        head.Forward(cache.Features).Sum().Backward();
        optimizer.Step();
        Assert.True(cache.IsCurrent);
        // A weight below changes, by a step, by loading, or a statistic by a training pass.
        var state = model.Children[0].Module.StateDict();
        model.Children[0].Module.LoadStateDict(state);
        Assert.False(cache.IsCurrent);
        cache.Compute();
        model.Train().Forward(data.Inputs);
        Assert.False(cache.IsCurrent);
        cache.Compute();
        Assert.Equal(3, cache.Computations);
    }

    [Fact]
    public void Cancelling_Caches_Nothing()
    {
        using var cache = new FeatureCache(new FeatureExtractor(model, "features"), data, batchSize: 4);
        using var cancel = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => cache.Compute(new Stop(cancel), cancel.Token));
        Assert.False(cache.IsCurrent);
        Assert.Equal(0, cache.Computations);
        Assert.Equal([10, 5], cache.Features.Shape);
    }

    [Fact]
    public void A_File_Spares_The_Next_Run_The_Computation()
    {
        using var folder = new TemporaryFolder();
        var file = new FeatureCacheFile(folder.File("features.safetensors"), "ten rows, plain");
        float[] features;
        using (var cache = Cache(file))
        {
            features = cache.Features.ToArray<float>();
            Assert.Equal(1, cache.Computations);
        }
        using (var again = Cache(file))
        {
            Assert.Equal(features, again.Features.ToArray<float>());
            Assert.Equal(data.Targets.ToArray<int>(), again.Targets.ToArray<int>());
            Assert.Equal(0, again.Computations);
            Assert.True(again.IsCurrent);
        }
        // The head is no part of the features; weights below, the key and the number of rows are.
        Change(1);
        Read(features);
        Computed(file with { Key = "ten rows, turned" });
        Computed(file);
        Change(0);
        Computed(file);
        Read(model.Eval().Children[0].Module.Forward(data.Inputs).ToArray<float>());

        void Change(int child)
        {
            using var silent = new NoGrad();
            model.Children[child].Module.Parameters().First().FillInPlace(1);
        }

        void Read(float[] expected)
        {
            using var cache = Cache(file);
            Assert.Equal(expected, cache.Features.ToArray<float>());
            Assert.Equal(0, cache.Computations);
        }

        void Computed(FeatureCacheFile file)
        {
            using var cache = Cache(file);
            cache.Compute();
            Assert.Equal(1, cache.Computations);
        }
    }

    [Fact]
    public void A_Damaged_File_Is_Computed_Anew()
    {
        using var folder = new TemporaryFolder();
        var file = new FeatureCacheFile(folder.File("features.safetensors"), "");
        using (var cache = Cache(file))
            cache.Compute();
        byte[] sound = File.ReadAllBytes(file.Path);
        foreach (int at in new[] { 3, 40, sound.Length - 1, sound.Length - 50 })
        {
            byte[] damaged = [.. sound];
            damaged[at] ^= 1;
            File.WriteAllBytes(file.Path, damaged);
            using var cache = Cache(file);
            Assert.Equal([10, 5], cache.Features.Shape);
            Assert.Equal(1, cache.Computations);
            Assert.Equal(sound, File.ReadAllBytes(file.Path));
        }
    }

    private FeatureCache Cache(FeatureCacheFile file) => new(new FeatureExtractor(model, "features"), data, batchSize: 4, file: file);

    private sealed class Stop(CancellationTokenSource cancel) : IProgress<int>
    {
        public void Report(int value) => cancel.Cancel();
    }
}
