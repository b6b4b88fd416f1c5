using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>Copies the values of a tensor of this shape and type, on any device, into this one, outside any graph.</summary>
    internal void Assign(Tensor values)
    {
        Check.That(values.Shape == Shape, $"Assign: {values.Shape} does not fill {Shape}.");
        Check.SameType("Assign", this, values);
        using (new NoGrad())
        using (new TensorScope())
        {
            var source = values.To(Device).Contiguous();
            if (Elements > 0)
                Movement.Copy(Device.Compute, Shape.Span, source.Slice, source.Strides, Slice, Strides);
        }
        Storage.Version++;
    }

    /// <summary>
    /// Lets this tensor stand for the memory of another of its shape, on any device and of any type, and its gradient likewise; every holder
    /// sees that. What a graph saved keeps the memory that it had. For leaves, outside any graph.
    /// </summary>
    internal void Become(Func<Tensor, Tensor> conversion)
    {
        using var recording = new NoGrad();
        var values = conversion(this);
        if (!ReferenceEquals(values, this))
        {
            var former = Interlocked.Exchange(ref storage, values.Storage.Retain());
            (strides, Offset, ElementType) = (values.strides, values.Offset, values.ElementType);
            former?.Release();
            values.Dispose();
        }
        Grad?.Become(conversion);
    }

    /// <summary>Trades memory with a tensor of this shape; every holder of either sees that. What a graph saved keeps the memory that it had. For leaves.</summary>
    internal void Exchange(Tensor other)
    {
        Check.That(other.Shape == Shape, $"Exchange: {other.Shape} can't take the place of {Shape}.");
        (storage, other.storage) = (other.storage, storage);
        (strides, other.strides) = (other.strides, strides);
        (Offset, other.Offset) = (other.Offset, Offset);
        (ElementType, other.ElementType) = (other.ElementType, ElementType);
    }
}
