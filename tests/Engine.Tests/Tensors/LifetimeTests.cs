namespace TransferEngine.Tests.Tensors;

/// <summary>Scopes, views and disposal.</summary>
public class LifetimeTests
{
    [Fact]
    public void A_scope_gives_back_what_was_made_in_it_but_what_is_kept()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        Tensor kept, lost;
        using (var scope = new TensorScope())
        {
            lost = Tensor.Ones([1000], device);
            kept = scope.Keep(lost + 1);
            Assert.True(device.LiveBytes >= 8000);
        }
        Assert.True(device.LiveBytes is >= 4000 and < 8000);
        Assert.Equal(2, kept.Max().Item());
        Assert.Throws<ObjectDisposedException>(() => lost + 1);
    }

    [Fact]
    public void What_an_inner_scope_keeps_the_outer_one_gives_back()
    {
        Tensor kept, alive;
        using (new TensorScope())
        {
            using (var inner = new TensorScope())
            {
                kept = inner.Keep(Tensor.Ones([3]));
                alive = Tensor.Ones([3]).KeepAlive();
            }
            Assert.Equal(3, kept.Sum().Item());
        }
        Assert.Throws<ObjectDisposedException>(() => kept.Sum());
        Assert.Equal(3, alive.Sum().Item());
    }

    [Fact]
    public void Gradients_and_saved_values_outlive_the_scope()
    {
        var w = Tensor.From([1f, 2, 3]);
        w.RequiresGrad = true;
        Tensor loss;
        using (var scope = new TensorScope())
            loss = scope.Keep((w.Exp() * w).Sum()); // the exponentials are saved, and their tensor is disposed
        loss.Backward();
        Assert.Equal(Math.E * 2, w.Grad!.ToArray<float>()[0], 1e-5);
        using (new TensorScope())
            w.Square().Sum().Backward();
        Assert.Equal(Math.E * 2 + 2, w.Grad!.ToArray<float>()[0], 1e-5);
    }

    [Fact]
    public void Views_share_memory_and_hold_it()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var x = Tensor.Arange(0, 6, device: device).Reshape(2, 3);
        long live = device.LiveBytes;
        Tensor row = x.Narrow(0, 1, 1), turned = x.Transpose(), flat = x.Reshape(6);
        Assert.Equal(live, device.LiveBytes);
        x.MultiplyInPlace(10);
        Assert.Equal([30f, 40, 50], row.ToArray<float>());
        Assert.Equal([0f, 30, 10, 40, 20, 50], turned.ToArray<float>());
        x.Dispose();
        Assert.Equal([30f, 40, 50], row.ToArray<float>());
        flat.FillInPlace(7);
        Assert.Throws<ShapeException>(() => turned.FillInPlace(8)); // a strided view
        Assert.Equal([7f, 7, 7], row.ToArray<float>());
        Assert.Equal([7f, 7, 7, 7, 7, 7], turned.ToArray<float>());
    }

    [Fact]
    public void The_last_view_gives_the_memory_back()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var x = Tensor.Zeros([1000], device);
        var view = x.Reshape(10, 100);
        x.Dispose();
        Assert.True(device.LiveBytes >= 4000);
        view.Dispose();
        view.Dispose(); // twice is once
        Assert.Equal(0, device.LiveBytes);
    }

    [Fact]
    public void A_disposed_tensor_says_so()
    {
        var x = Tensor.Ones([2, 3]);
        x.Dispose();
        var e = Assert.Throws<ObjectDisposedException>(() => x.Relu());
        Assert.Contains("[2, 3]", e.Message, StringComparison.Ordinal);
        Assert.Throws<ObjectDisposedException>(() => x.ToArray<float>());
        Assert.Throws<ObjectDisposedException>(() => Tensor.Ones([3, 2]).MatMul(x));
        Assert.Contains("disposed", x.ToString(), StringComparison.Ordinal);
    }
}
