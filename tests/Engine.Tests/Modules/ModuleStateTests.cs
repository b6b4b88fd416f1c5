using TransferEngine.Modules;
using Xunit;

namespace TransferEngine.Tests.Modules;

public sealed class ModuleStateTests
{
    private static Sequential Model(int classes, ulong seed) => new(
        ("features", new Sequential(new Linear(4, 6, generator: new(seed)), new BatchNorm1d(6), Activation.Tanh())),
        ("head", new Linear(6, classes, generator: new(seed + 1))));

    private static double[] Output(Module model) => model.Eval().Forward(Tensor.Arange(0, 8).Reshape(2, 4) * 0.1).To(ElementType.Float64).ToArray<double>();

    [Fact]
    public void A_File_Brings_Every_Value_Back()
    {
        Sequential from = Model(3, 1), to = Model(3, 5);
        from.Forward(Tensor.Uniform([5, 4], generator: new(2)));
        string path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.safetensors");
        try
        {
            from.Save(path);
            var report = to.Load(path);
            Assert.Equal(from.StateDict().Keys, report.Matched);
        }
        finally
        {
            File.Delete(path);
        }
        Assert.Equal(Output(from), Output(to));
        Assert.Equal(1, to.StateDict()["features.1.num_batches_tracked"].Item());
    }

    [Fact]
    public void What_Differs_Is_Reported_Or_Refused()
    {
        Sequential from = Model(5, 1), to = Model(3, 5);
        var state = new Dictionary<string, Tensor>(from.StateDict()) { ["fc.weight"] = Tensor.Zeros([1]) };
        state.Remove("features.0.bias");
        state.Remove("features.1.num_batches_tracked");
        float[] head = to.StateDict()["head.bias"].ToArray<float>();
        double[] before = Output(to);
        string message = Assert.Throws<ArgumentException>(() => to.LoadStateDict(state)).Message;
        Assert.Contains("features.0.bias is missing", message);
        Assert.Contains("head.weight is Float32[5, 6], wanted Float32[3, 6]", message);
        Assert.Contains("fc.weight is unknown", message);
        Assert.DoesNotContain("num_batches_tracked", message);
        Assert.Equal(before, Output(to));

        var report = to.LoadStateDict(state, strict: false);
        Assert.Equal(["features.0.weight", "features.1.weight", "features.1.bias", "features.1.running_mean", "features.1.running_var"], report.Matched);
        Assert.Equal(["features.0.bias", "features.1.num_batches_tracked"], report.Missing);
        Assert.Equal(["fc.weight"], report.Unexpected);
        Assert.Equal(2, report.Mismatched.Count);
        Assert.Equal(from.StateDict()["features.0.weight"].ToArray<float>(), to.StateDict()["features.0.weight"].ToArray<float>());
        Assert.Equal(head, to.StateDict()["head.bias"].ToArray<float>());
    }

    [Fact]
    public void Types_And_Devices_Change_In_Place()
    {
        var model = Model(3, 1);
        var weight = model.Parameters().First();
        var optimizer = new Sgd(model.Parameters(), 0.1);
        model.Train().Forward(Tensor.Ones([2, 4])).Sum().Backward();
        double[] before = Output(model);
        using var other = Device.Open(DeviceKind.Cpu);
        model.To(other).To(ElementType.Float64);
        Assert.Same(weight, model.Parameters().First());
        Assert.All(model.Parameters().Append(weight.Grad!), tensor => Assert.Equal((other, ElementType.Float64), (tensor.Device, tensor.ElementType)));
        Assert.Equal(ElementType.Int32, model.StateDict()["features.1.num_batches_tracked"].ElementType);
        var x = (Tensor.Arange(0, 8).Reshape(2, 4) * 0.1).To(ElementType.Float64).To(other);
        Assert.All(model.Eval().Forward(x).ToArray<double>().Zip(before), pair => Assert.Equal(pair.Second, pair.First, 1e-6));
        double first = weight.ToArray<double>()[0], slope = weight.Grad!.ToArray<double>()[0];
        optimizer.Step();
        Assert.Equal(first - 0.1 * slope, weight.ToArray<double>()[0], 1e-12);
        model.Train().Forward(x);
        Assert.Equal(2, model.StateDict()["features.1.num_batches_tracked"].Item());
        Assert.Throws<ElementTypeException>(() => model.To(ElementType.Int32));
        model.To(Device.Cpu);
    }

    [Fact]
    public void A_Graph_Keeps_The_Memory_That_It_Saved()
    {
        var layer = new Linear(2, 1, bias: false, generator: new(1));
        var x = Tensor.Ones([1, 2]);
        x.RequiresGrad = true;
        var y = layer.Forward(x);
        float[] weight = layer.Weight.ToArray<float>();
        layer.To(ElementType.Float64);
        Assert.Equal(weight, Tensor.Gradients(y, [x])[0].ToArray<float>());
    }

    [Fact]
    public void Modules_Are_Found_By_Name_And_Gradients_Switched()
    {
        var model = Model(3, 1);
        Assert.Same(model, model.GetModule(""));
        Assert.IsType<BatchNorm1d>(model.GetModule("features.1"));
        Assert.Contains("features.1", Assert.Throws<ArgumentException>(() => model.GetModule("features.9")).Message);
        model.GetModule("features").RequiresGrad(false);
        Assert.Equal(["head.weight", "head.bias"], model.NamedParameters().Where(item => item.Tensor.RequiresGrad).Select(item => item.Name));
    }

    [Fact]
    public void Sequential_Gives_Back_What_Nobody_Can_See()
    {
        var device = Device.Open(DeviceKind.Cpu);
        var outputs = new List<Tensor>();
        var x = Tensor.Ones([1024, 16], device);
        var model = new Sequential([.. Enumerable.Range(0, 8).Select(i => new Linear(16, 16, generator: new((ulong)i), device: device))]);
        using (new NoGrad())
        {
            long before = device.LiveBytes;
            device.ResetPeakBytes();
            using var y = model.Forward(x);
            Assert.Equal(x.Elements * 4, device.LiveBytes - before);
            Assert.InRange(device.PeakBytes - before, x.Elements * 4, x.Elements * 4 * 2.5);
        }
        using (model[3].RegisterForwardHook((_, input, output) => { outputs.AddRange([input, output]); return null; }))
            model.Forward(x);
        var passing = new Sequential(new Identity(), new Dropout(0), new Function(input => { outputs.Add(input); return input + 1; }), Activation.Relu());
        outputs.Add(passing.Forward(x));
        Assert.All(outputs.Append(x), tensor => Assert.NotEmpty(tensor.ToArray<float>()));
        x.RequiresGrad = true;
        model.Forward(x).Sum().Backward();
        Assert.Equal(x.Shape, x.Grad!.Shape);
    }

    [Fact]
    public void Training_Lowers_The_Loss()
    {
        var model = new Sequential(new Linear(2, 16, generator: new(1)), Activation.Tanh(), new Linear(16, 2, generator: new(2)));
        var x = Tensor.From([0f, 0, 0, 1, 1, 0, 1, 1], [4, 2]);
        var y = Tensor.From([0, 1, 1, 0]);
        var optimizer = new Adam(model.Parameters(), 0.05);
        double last = double.NaN;
        for (int step = 0; step < 200; step++)
        {
            using var scope = new TensorScope();
            optimizer.ZeroGrad();
            var loss = model.Forward(x).CrossEntropy(y);
            loss.Backward();
            optimizer.Step();
            last = loss.Item();
        }
        Assert.InRange(last, 0, 0.05);
    }
}
