using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Models;
using TransferEngine.Serialization;
using TransferEngine.Tests.Serialization;
using Xunit;

namespace TransferEngine.Tests.Models;

/// <summary>Networks with weights that others trained, against what PyTorch made of them; the files are described beside them.</summary>
public sealed class PretrainedTests
{
    private const double Tolerance = 1e-4;

    /// <summary>
    /// Units of SqueezeNet on the reference's two photos that the rounding of PyTorch's float32 put on the other side of a ReLU's kink or of a tie in pooling
    /// than exact arithmetic does: where, and whether it passes. Its gradients in float64 differ from those in float32 by up to 1.7e-3 for these alone.
    /// </summary>
    private static readonly (string Layer, int Image, int Channel, int Row, int Column, bool Passes)[] Undecided =
    [
        ("features.1", 0, 30, 91, 68, false), ("features.1", 0, 41, 26, 47, true), ("features.1", 0, 7, 81, 17, true), ("features.1", 1, 68, 50, 17, true),
        ("features.5.expand3x3_activation", 0, 95, 1, 9, true), ("features.10.expand1x1_activation", 0, 34, 9, 2, false),
        ("features.10.expand1x1_activation", 1, 38, 24, 6, true), ("features.10.expand1x1_activation", 1, 41, 0, 11, true),
    ];

    [SkippableFact]
    public void SqueezeNet_computes_what_PyTorch_does()
    {
        var model = Squeeze();
        var reference = Safetensors.Load(RealFiles.Find("squeezenet1_0/squeezenet1_0-reference.safetensors")).Tensors;
        var x = Normalized(Images(reference["pixels_rgb_u8_nhwc"]), "squeezenet1_0");
        using var silent = new NoGrad();
        string[] names = [.. reference.Keys.Where(name => name.EndsWith(".out.mean_hw", StringComparison.Ordinal))];
        Assert.Equal(5, names.Length);
        var hooks = Array.ConvertAll(names, name => model.GetModule(name[..^".out.mean_hw".Length]).RegisterForwardHook((_, _, y) =>
        {
            Close(name, reference[name], y.Mean([2, 3]));
            return null;
        }));
        Close("features.12.out", reference["features.12.out"], model.Features(x));
        foreach (var hook in hooks)
            hook.Dispose();
        var logits = model.Forward(x);
        Close("logits", reference["logits"], logits);
        float[] ant = logits.Select(1, 310).ToArray<float>(), bee = logits.Select(1, 309).ToArray<float>();
        Assert.True(ant[0] > bee[0] && bee[1] > ant[1], "the ant is a bee, or the bee an ant");
        Close("loss", reference["loss"], logits.CrossEntropy(reference["labels"]).Reshape(1));
    }

    [SkippableTheory, InlineData(ElementType.Float32), InlineData(ElementType.Float64)]
    public void SqueezeNets_gradients_are_PyTorchs_where_units_are_switched_alike(ElementType type)
    {
        var model = Squeeze();
        model.To(type);
        var reference = Safetensors.Load(RealFiles.Find("squeezenet1_0/squeezenet1_0-reference.safetensors")).Tensors;
        foreach (var layer in Undecided.GroupBy(unit => unit.Layer))
            model.GetModule(layer.Key).RegisterForwardHook((_, input, output) => Switched([.. layer.Select(unit => (unit.Image, unit.Channel, unit.Row, unit.Column, unit.Passes))], input, output));
        model.Forward(Normalized(Images(reference["pixels_rgb_u8_nhwc"]), "squeezenet1_0").To(type)).CrossEntropy(reference["labels"]).Backward();
        Gradients(model, reference, "grad.", 7);
    }

    [SkippableFact]
    public void SqueezeNet_tells_ants_from_bees_untrained()
    {
        const int Ant = 310, Bee = 309, Batch = 17;
        var model = Squeeze();
        var folder = new ImageFolder(RealFiles.Find("hymenoptera/val"), new() { OriginalSize = true });
        var middles = new TransformedDataset(folder, new Compose(new Resize(256), new CenterCrop(224)));
        Assert.Equal(["ants", "bees"], folder.Classes);
        Assert.Equal(153, folder.Count);
        using var silent = new NoGrad();
        int right = 0;
        for (int start = 0; start < folder.Count; start += Batch)
        {
            using var scope = new TensorScope();
            var logits = model.Forward(Normalized(middles.Read([.. Enumerable.Range(start, Batch)], Device.Cpu).Input, "squeezenet1_0"));
            float[] ant = logits.Select(1, Ant).ToArray<float>(), bee = logits.Select(1, Bee).ToArray<float>();
            right += Enumerable.Range(0, Batch).Count(i => bee[i] > ant[i] == (folder.Labels[start + i] == 1));
        }
        // PyTorch's share is 94.1 %: 144 images.
        Assert.InRange(right, 143, 145);
    }

    [SkippableFact]
    public void MobileNetV1_computes_what_PyTorch_does()
    {
        var model = Backbone.Create("mobilenet_v1_block12", generator: new(1));
        var report = model.Load(RealFiles.Find("mobilenet_v1/mobilenet_v1_1.0_224-to-block12.safetensors"), strict: false);
        Assert.Equal(125, report.Matched.Count);
        Assert.Empty(report.Unexpected);
        Assert.Empty(report.Mismatched);
        Assert.All(report.Missing, name => Assert.True(name.StartsWith("head.", StringComparison.Ordinal) || name.EndsWith("num_batches_tracked", StringComparison.Ordinal), name));
        model.Eval();
        var reference = Safetensors.Load(RealFiles.Find("mobilenet_v1/mobilenet_v1-reference.safetensors")).Tensors;
        var x = Normalized(Images(reference["pixels_rgb_u8_nhwc"]), "mobilenet_v1_block12");
        using var silent = new NoGrad();
        using (model.GetModule("conv_pw_12_relu").RegisterForwardHook((_, _, y) => { Close("block12.out", reference["block12.out"], y); return null; }))
            Close("block12.pooled", reference["block12.pooled"], model.Features(x));
    }

    [SkippableFact]
    public void ResNet20_computes_what_PyTorch_does()
    {
        var model = ResNet20();
        var reference = Safetensors.Load(RealFiles.Find("resnet-cifar10/resnet20-reference.safetensors")).Tensors;
        Tensor x = reference["input"], labels = reference["labels"];
        var logits = model.Forward(x);
        Close("eval.logits", reference["eval.logits"], logits);
        var loss = logits.CrossEntropy(labels);
        Close("eval.loss", reference["eval.loss"], loss.Reshape(1));
        loss.Backward();
        Gradients(model, reference, "eval.grad.", 7);
    }

    [SkippableFact]
    public void ResNet20_trains_as_PyTorch_does()
    {
        var model = ResNet20();
        model.Train();
        var reference = Safetensors.Load(RealFiles.Find("resnet-cifar10/resnet20-reference.safetensors")).Tensors;
        Tensor x = reference["input"], labels = reference["labels"];
        var optimizer = new Sgd(model.Parameters(), 0.01, momentum: 0.9, weightDecay: 1e-4);
        var losses = new List<float>();
        for (int step = 1; step <= 3; step++)
        {
            optimizer.ZeroGrad();
            var loss = model.Forward(x).CrossEntropy(labels);
            loss.Backward();
            if (step == 1)
                Gradients(model, reference, "train.grad.", 4);
            optimizer.Step();
            losses.Add((float)loss.Item());
            State(model, reference, $"train.step{step}.", step switch { 1 => 2, 3 => 7, _ => 0 });
        }
        Close("train.loss", reference["train.loss"], Tensor.From(losses.ToArray(), [3]));
        Assert.Equal(3, model.StateDict()["bn1.num_batches_tracked"].ToArray<int>()[0]);
    }

    [SkippableTheory]
    [InlineData("resnet20", "resnet20-12fca82f.th", 81.35)]
    [InlineData("resnet56", "resnet56-4bfd9763.th", 83.15)]
    public void ResNets_get_the_share_of_CIFAR10_that_PyTorch_does(string name, string weights, double share)
    {
        const int Batch = 250;
        var model = Backbone.Create(name, generator: new(1));
        model.Load(RealFiles.Find($"resnet-cifar10/{weights}"));
        model.Eval();
        var (shape, pixels) = Idx.Load(RealFiles.Find("cifar10-test-subset/images-idx4-ubyte.gz"));
        var (_, labels) = Idx.Load(RealFiles.Find("cifar10-test-subset/labels-idx1-ubyte.gz"));
        Assert.Equal([2000, 32, 32, 3], shape);
        using var silent = new NoGrad();
        int right = 0;
        for (int start = 0; start < shape[0]; start += Batch)
        {
            using var scope = new TensorScope();
            int[] part = Array.ConvertAll(pixels[(start * 3072)..((start + Batch) * 3072)], value => (int)value);
            int[] guess = model.Forward(Normalized(Images(Tensor.From(part, [Batch, 32, 32, 3])), name)).ArgMax(1).ToArray<int>();
            right += guess.Zip(labels[start..(start + Batch)]).Count(pair => pair.First == pair.Second);
        }
        Assert.Equal(share, right / 20.0, 0.1);
    }

    private static Classifier Squeeze()
    {
        var model = Backbone.Create("squeezenet1_0", generator: new(1));
        Assert.Equal(52, model.Load(RealFiles.Find("squeezenet1_0/squeezenet1_0-deepcompression.safetensors")).Matched.Count);
        model.Eval();
        return model;
    }

    private static Classifier ResNet20()
    {
        var model = Backbone.Create("resnet20", generator: new(1));
        Assert.Equal(97, model.Load(RealFiles.Find("resnet-cifar10/resnet20.safetensors")).Matched.Count);
        model.Eval();
        return model;
    }

    /// <summary>The output of a ReLU, but for units that pass their input, a little more so that they win in pooling, or nothing.</summary>
    private static Tensor Switched((int Image, int Channel, int Row, int Column, bool Passes)[] units, Tensor input, Tensor output)
    {
        const double Little = 2e-4;
        double[] passes = new double[output.Elements], stops = new double[output.Elements];
        foreach (var unit in units)
            (unit.Passes ? passes : stops)[((unit.Image * output.Shape[1] + unit.Channel) * output.Shape[2] + unit.Row) * output.Shape[3] + unit.Column] = 1;
        Tensor on = Tensor.FromDoubles(passes, output.Shape, Device.Cpu, output.ElementType), off = Tensor.FromDoubles(stops, output.Shape, Device.Cpu, output.ElementType);
        return output * (1 - off) + (input - output + Little) * on;
    }

    /// <summary>Bytes [N, H, W, C] as colours in 0 to 1, [N, C, H, W].</summary>
    private static Tensor Images(Tensor pixels) => pixels.To(ElementType.Float32).Permute(0, 3, 1, 2) / 255;

    private static Tensor Normalized(Tensor images, string backbone)
    {
        var wanted = Backbone.Find(backbone).Preprocessing;
        return (images - Tensor.From([.. wanted.Mean], [1, wanted.Channels, 1, 1])) / Tensor.From([.. wanted.Deviation], [1, wanted.Channels, 1, 1]);
    }

    private static void Gradients(Classifier model, IReadOnlyDictionary<string, Tensor> reference, string prefix, int count)
    {
        var parameters = model.NamedParameters().ToDictionary(item => item.Name, item => item.Tensor.Grad!);
        Each(parameters, reference, prefix, count);
    }

    private static void State(Classifier model, IReadOnlyDictionary<string, Tensor> reference, string prefix, int count) => Each(model.StateDict(), reference, prefix, count);

    private static void Each(IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, Tensor> reference, string prefix, int count)
    {
        string[] names = [.. reference.Keys.Where(name => name.StartsWith(prefix, StringComparison.Ordinal))];
        Assert.Equal(count, names.Length);
        foreach (string name in names)
            Close(name, reference[name], tensors[name[prefix.Length..]]);
    }

    /// <summary>Each element, relative to the largest.</summary>
    private static void Close(string what, Tensor want, Tensor got)
    {
        Assert.True(want.Shape == got.Shape, $"{what}: {got.Shape}, wanted {want.Shape}");
        float[] expected = want.ToArray<float>(), actual = got.To(ElementType.Float32).ToArray<float>();
        double largest = expected.Max(Math.Abs), error = expected.Zip(actual).Max(pair => Math.Abs((double)pair.First - pair.Second)) / largest;
        Assert.True(error <= Tolerance, $"{what}: relative error {error:E1}");
    }
}
