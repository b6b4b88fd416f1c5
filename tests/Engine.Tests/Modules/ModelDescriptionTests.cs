using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Tests.Modules;

public sealed class ModelDescriptionTests
{
    private readonly Sequential model = new(
        ("features", new Sequential(new Conv2d(3, 8, 3, padding: 1, generator: new(1)), new BatchNorm2d(8), Activation.Relu(), new Conv2d(8, 8, 3, groups: 2, bias: false, generator: new(2)))),
        ("flatten", new Flatten()),
        ("head", new Linear(8 * 16, 5, generator: new(3))));

    private readonly Tensor input = Tensor.Zeros([2, 3, 6, 6]);

    [Fact]
    public void Counts_What_Layers_Hold_And_Cost()
    {
        var described = model.Describe(input);
        Assert.Equal(["features.0", "features.1", "features.2", "features.3", "flatten", "head"], described.Layers.Select(layer => layer.Name));
        Assert.Equal([216 + 8, 16, 0, 8 * 4 * 9, 0, 645], described.Layers.Select(layer => layer.Parameters));
        // Of the first layer only the weights' gradient: nothing asks for the images'.
        Assert.Equal([2 * 8 * 36 * 27L, 0, 0, 2 * 8 * 16 * 36L, 0, 2 * 5 * 128L], described.Layers.Select(layer => layer.Forward));
        Assert.Equal([2 * 8 * 36 * 27L, 0, 0, 2 * 2 * 8 * 16 * 36L, 0, 2 * 2 * 5 * 128L], described.Layers.Select(layer => layer.Backward));
        Assert.Equal([2, 8, 4, 4], described.Layers[3].Shape);
        Assert.All(described.Layers, layer => Assert.Equal("train", layer.Mode));
        Assert.Equal(model.Parameters().Sum(parameter => parameter.Elements), described.Parameters);
        Assert.True(model.IsTraining);
        Assert.Equal(0, ((BatchNorm2d)model.GetModule("features.1")).OwnBuffers.Single(item => item.Name == "num_batches_tracked").Tensor.ToArray<int>()[0]);
    }

    [Fact]
    public void What_Is_Frozen_Costs_No_Backward_Pass()
    {
        using var frozen = FreezePolicy.Named("features").Apply(model);
        var described = model.Describe(input);
        Assert.Equal(["frozen", "frozen", "frozen", "frozen", "train", "train"], described.Layers.Select(layer => layer.Mode));
        Assert.Equal(645, described.Trainable);
        Assert.Equal(2 * 5 * 128, described.Backward);
        frozen.Undo();
        Assert.Equal(described.Parameters, model.Describe().Trainable);
    }

    [Fact]
    public void Without_An_Input_Shapes_Are_The_Weights()
    {
        var described = model.Describe();
        Assert.Equal([8, 3, 3, 3], described.Layers[0].Shape);
        Assert.Null(described.Layers[2].Shape);
        Assert.Equal(0, described.Forward);
    }

    /// <summary>Multiply-adds and parameters as torchvision and timm publish them.</summary>
    [Theory]
    [InlineData("resnet18", 1.814e9, 11_689_512)]
    [InlineData("mobilenet_v2", 0.301e9, 3_504_872)]
    [InlineData("vit_tiny_patch16_224", 1.26e9, 5_717_416)]
    public void Known_Networks_Have_Their_Known_Sizes(string name, double operations, long parameters)
    {
        using var scope = new TensorScope();
        var described = Backbone.Create(name, generator: new(1)).Describe(Tensor.Zeros([1, 3, 224, 224]));
        Assert.Equal(parameters, described.Parameters);
        Assert.InRange(described.Forward / operations, 0.99, 1.01);
        Assert.Equal(described.Layers.Count + 2, described.ToString().TrimEnd('\n').Split('\n').Length);
    }
}
