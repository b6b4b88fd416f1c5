using TransferEngine.Tests;

namespace TransferEngine.Conformance;

/// <summary>What the operator table does not cover: conversions and changes in place.</summary>
public class InPlaceTests
{
    public static TheoryData<string> Machines => TestDevices.All;

    [SkippableTheory, MemberData(nameof(Machines))]
    public void Conversions_cut_fractions_and_saturate(string machine)
    {
        var device = EngineDevices.Get(machine);
        float[] values = [1.9f, -1.9f, 0, 3e9f, -3e9f, float.NaN, 16777217];
        var x = Tensor.From(values, device);
        Assert.Equal([1, -1, 0, int.MaxValue, int.MinValue, 0, 16777216], x.To(ElementType.Int32).ToArray<int>());
        Assert.Equal(values.Select(v => (double)v), x.To(ElementType.Float64).ToArray<double>());
        Assert.Equal([1, -1, 0, int.MaxValue, int.MinValue, 0, 16777216], x.To(ElementType.Float64).To(ElementType.Int32).ToArray<int>());
        Assert.Equal([0.1f], Tensor.From([0.1], device).To(ElementType.Float32).ToArray<float>());
        Assert.Equal([5f, -7f], Tensor.From([5, -7], device).To(ElementType.Float32).ToArray<float>());
        Assert.Same(x, x.To(ElementType.Float32));
    }

    [SkippableTheory, MemberData(nameof(Machines))]
    public void A_gradient_flows_back_through_a_conversion(string machine)
    {
        var x = Tensor.From([1f, 2f], EngineDevices.Get(machine));
        x.RequiresGrad = true;
        (x.To(ElementType.Float64) * 3).Sum().Backward();
        Assert.Equal([3f, 3f], x.Grad!.ToArray<float>());
    }

    [SkippableTheory, MemberData(nameof(Machines))]
    public void Changes_in_place_are_seen_through_views(string machine)
    {
        var device = EngineDevices.Get(machine);
        var x = Tensor.From([1f, 2, 3, 4], [2, 2], device);
        var view = x.Transpose();
        x.AddInPlace(Tensor.From([10f, 20], device), 2);
        Assert.Equal([21f, 23, 42, 44], view.ToArray<float>());
        x.MultiplyInPlace(0.5).CopyInPlace(Tensor.From([7f], device));
        Assert.Equal([7f, 7, 7, 7], view.ToArray<float>());
        x.FillInPlace(-1);
        Assert.Equal([-1f, -1, -1, -1], view.ToArray<float>());
    }

    [Fact]
    public void A_saved_tensor_changed_in_place_is_an_error_that_names_the_operator()
    {
        var x = Tensor.From([1f, 2f]);
        var w = Tensor.From([3f, 4f]);
        x.RequiresGrad = true;
        var y = (x * w).Sum();
        w.FillInPlace(0);
        Assert.Contains("Multiply", Assert.Throws<AutogradException>(() => y.Backward()).Message);
    }

    [Fact]
    public void A_tensor_that_needs_a_gradient_is_changed_inside_NoGrad_only()
    {
        var x = Tensor.From([1f, 2f]);
        x.RequiresGrad = true;
        Assert.Throws<AutogradException>(() => x.FillInPlace(0));
        using (new NoGrad())
            x.AddInPlace(x.Detach());
        Assert.Equal([2f, 4f], x.ToArray<float>());
    }
}
