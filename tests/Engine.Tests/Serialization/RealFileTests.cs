using TransferEngine.Serialization;

namespace TransferEngine.Tests.Serialization;

/// <summary>Files as others wrote them.</summary>
public sealed class RealFileTests
{
    [SkippableFact]
    public void Pretrained_Weights()
    {
        var file = Safetensors.Load(RealFiles.Find("resnet-cifar10/resnet20.safetensors"));
        Assert.Contains(file.Tensors, item => item.Value.Shape == [16, 3, 3, 3]);
        Assert.Contains(file.Tensors, item => item.Value.Shape == [10, 64]);
        Assert.All(file.Tensors.Values.Where(tensor => tensor.ElementType == ElementType.Float32), tensor => Assert.All(tensor.ToArray<float>(), value => Assert.True(float.IsFinite(value))));
        foreach (var tensor in file.Tensors.Values)
            tensor.Dispose();
    }

    [SkippableFact]
    public void The_Original_Checkpoint_Holds_What_Was_Converted_From_It()
    {
        using var scope = new TensorScope();
        var converted = Safetensors.Load(RealFiles.Find("resnet-cifar10/resnet20.safetensors"));
        var original = WeightFile.Load(RealFiles.Find("resnet-cifar10/resnet20-12fca82f.th"));
        Assert.Equal(converted.Tensors.Keys.Order(), original.Tensors.Keys.Order());
        Assert.Equal("91.78000183105469", original.Metadata["best_prec1"]);
        foreach (var (name, tensor) in original.Tensors)
        {
            Assert.Equal(converted.Tensors[name].Shape, tensor.Shape);
            Assert.True(tensor.ElementType == ElementType.Int32
                ? tensor.ToArray<int>().AsSpan().SequenceEqual(converted.Tensors[name].ToArray<int>())
                : tensor.ToArray<float>().AsSpan().SequenceEqual(converted.Tensors[name].ToArray<float>()), name);
        }
    }

    [SkippableFact]
    public void Features_Of_Office_Caltech()
    {
        using var x = Npy.Load(RealFiles.Find("office-caltech10-features/surf_dslr_X.npy"));
        using var y = Npy.Load(RealFiles.Find("office-caltech10-features/surf_dslr_y.npy"));
        Assert.Equal([157, 800], x.Shape);
        Assert.Equal([157], y.Shape);
        Assert.Equal(10, y.ToArray<int>().Distinct().Count());
    }

    [SkippableFact]
    public void Windows_Of_Smartphones()
    {
        var arrays = Npy.LoadArchive(RealFiles.Find("uci-har/subject02_train.npz"));
        Assert.Equal([211, 9, 128], arrays["X"].Shape);
        Assert.Equal(ElementType.Int32, arrays["y"].ElementType);
        Assert.Equal([0, 1, 2, 3, 4, 5], arrays["y"].ToArray<int>().Distinct().Order());
    }

    [SkippableFact]
    public void Digits_Of_Mnist()
    {
        var (shape, pixels) = Idx.Load(RealFiles.Find("mnist/t10k-images-idx3-ubyte.gz"));
        var (count, labels) = Idx.Load(RealFiles.Find("mnist/t10k-labels-idx1-ubyte.gz"));
        Assert.Equal([10000, 28, 28], shape);
        Assert.Equal([10000], count);
        Assert.Equal([7, 2, 1, 0, 4], labels[..5]);
        Assert.Equal(255, pixels.Max());
    }

    [SkippableFact]
    public void Digits_As_A_Table()
    {
        var table = Csv.Load(RealFiles.Find("optdigits/digits.csv.gz"));
        Assert.Equal((1797, 65), (table.Rows, table.Columns));
        Assert.All(Enumerable.Range(0, table.Rows), row => Assert.InRange(table.Values[row * 65 + 64], 0, 9));
    }
}
