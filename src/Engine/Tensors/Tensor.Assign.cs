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
}
