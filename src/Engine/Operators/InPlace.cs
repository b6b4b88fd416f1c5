using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Changes in place. They are not recorded, so a tensor that needs a gradient refuses them outside <see cref="NoGrad"/>; a value that was saved for
/// backward and is changed makes that backward pass an error.
/// </summary>
public sealed partial class Tensor
{
    /// <summary>Overwrites all elements with a number.</summary>
    /// <param name="value">The number, rounded to the type.</param>
    /// <returns>This tensor.</returns>
    /// <exception cref="AutogradException">This tensor needs a gradient and operators are recorded.</exception>
    public Tensor FillInPlace(double value)
    {
        Writable("FillInPlace");
        Movement.Fill(Device.Compute, Slice, value);
        return this;
    }

    /// <summary>Overwrites all elements with those of another tensor.</summary>
    /// <param name="source">The same type and device, and a shape that broadcasts to this one.</param>
    /// <returns>This tensor.</returns>
    /// <exception cref="AutogradException">This tensor needs a gradient and operators are recorded.</exception>
    public Tensor CopyInPlace(Tensor source)
    {
        ArgumentNullException.ThrowIfNull(source);
        Check.SameDevice("CopyInPlace", this, source);
        Check.SameType("CopyInPlace", this, source);
        Writable("CopyInPlace");
        using (new NoGrad())
        {
            using var spread = source.Expand(Shape).Alias();
            using var dense = new Dense(spread);
            Device.Compute.CopyWithin(dense.Slice, Slice);
        }
        return this;
    }

    /// <summary>Adds a multiple of another tensor to this one.</summary>
    /// <param name="other">The same type and device, and a shape that broadcasts to this one.</param>
    /// <param name="scale">What it is multiplied by.</param>
    /// <returns>This tensor.</returns>
    /// <exception cref="AutogradException">This tensor needs a gradient and operators are recorded.</exception>
    public Tensor AddInPlace(Tensor other, double scale = 1)
    {
        ArgumentNullException.ThrowIfNull(other);
        Check.Alike("AddInPlace", this, other);
        Writable("AddInPlace");
        using (new NoGrad())
        {
            using var spread = other.Expand(Shape).Alias();
            using var dense = new Dense(spread);
            Elementwise.Zip(Device.Compute, new MultiplyAccumulate(scale), dense.Slice, Slice, Slice);
        }
        return this;
    }

    /// <summary>Multiplies all elements by a number.</summary>
    /// <param name="factor">The number.</param>
    /// <returns>This tensor.</returns>
    /// <exception cref="AutogradException">This tensor needs a gradient and operators are recorded.</exception>
    public Tensor MultiplyInPlace(double factor)
    {
        Check.Floating("MultiplyInPlace", this);
        Writable("MultiplyInPlace");
        Elementwise.Map(Device.Compute, new Affine(factor, 0), Slice, Slice);
        return this;
    }

    /// <summary>Adds 1 to an Int32 scalar, on the device.</summary>
    internal void Increment()
    {
        Writable("Increment");
        Movement.Increment(Device.Compute, Slice);
    }

    /// <summary>Checks that this tensor may be written over, and counts the change.</summary>
    private void Writable(string operation)
    {
        if (RequiresGrad && Graph.IsRecording)
            throw new AutogradException($"{operation}: {Shape} needs a gradient, which a change in place would falsify. Put it inside NoGrad, or use an operator that makes a new tensor.");
        Check.That(IsContiguous, $"{operation}: {Shape} is a strided view, which can't be changed in place. Change Contiguous() or the tensor that it views.");
        Storage.Version++;
    }
}
