using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Random tensors, and dropout.</summary>
public sealed partial class Tensor
{
    /// <summary>Makes a tensor of numbers that are uniform in [low, high).</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="low">The lower bound, which can appear.</param>
    /// <param name="high">The upper bound, which does not.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public static Tensor Uniform(Shape shape, double low = 0, double high = 1, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        var y = NewFloating("Uniform", shape, device, type);
        Sampling.Uniform(y.Device.Compute, (generator ?? Generator.Default).Take(y), low, high, y.Slice);
        return y;
    }

    /// <summary>Makes a tensor of normally distributed numbers.</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="mean">The mean.</param>
    /// <param name="deviation">The standard deviation.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public static Tensor Normal(Shape shape, double mean = 0, double deviation = 1, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        var y = NewFloating("Normal", shape, device, type);
        Sampling.Normal(y.Device.Compute, (generator ?? Generator.Default).Take(y), mean, deviation, y.Slice);
        return y;
    }

    /// <summary>Makes a tensor of ones and zeros.</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="probability">The probability of a one.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public static Tensor Bernoulli(Shape shape, double probability, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        var y = NewFloating("Bernoulli", shape, device, type);
        Sampling.Bernoulli(y.Device.Compute, (generator ?? Generator.Default).Take(y), probability, y.Slice);
        return y;
    }

    /// <summary>Makes an Int32 tensor of numbers that are uniform in [low, high).</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="low">The lowest.</param>
    /// <param name="high">One above the highest.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    public static Tensor RandomIntegers(Shape shape, int low, int high, Generator? generator = null, Device? device = null)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(low, high);
        var y = Allocate(shape, device ?? Device.Cpu, ElementType.Int32);
        Sampling.Integers(y.Device.Compute, (generator ?? Generator.Default).Take(y), low, high, y.Slice);
        return y;
    }

    /// <summary>Makes an Int32 tensor [n] of the numbers 0 to n - 1 in random order.</summary>
    /// <param name="n">How many.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    public static Tensor RandomPermutation(int n, Generator? generator = null, Device? device = null) => From((generator ?? Generator.Default).Permutation(n), device);

    /// <summary>Sets each element to 0 with a probability and scales the others by 1 / (1 - probability), so that the mean stays.</summary>
    /// <param name="probability">From 0 to 1.</param>
    /// <param name="training">Otherwise the tensor passes through.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <remarks>Gradient: dropout of that of the output, by the same mask, which is drawn again rather than saved.</remarks>
    public Tensor Dropout(double probability = 0.5, bool training = true, Generator? generator = null)
    {
        Check.Floating("Dropout", this);
        if (!(probability is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(probability), probability, "Dropout: a probability is from 0 to 1.");
        return !training || probability == 0 ? this : Dropped(probability, (generator ?? Generator.Default).Take(this));
    }

    private Tensor Dropped(double probability, PhiloxState state)
    {
        var y = AllocateLike(Shape);
        using (var x = new Dense(this))
            Sampling.Dropout(Device.Compute, state, probability, x.Slice, y.Slice);
        return Graph.Record("Dropout", y, [this], [], (g, _) => [g.Dropped(probability, state)]);
    }

    private static Tensor NewFloating(string operation, Shape shape, Device? device, ElementType type)
    {
        if (type == ElementType.Int32)
            throw new ElementTypeException($"{operation}: Int32 elements can't hold such numbers. Use RandomIntegers, or another type.");
        if (type.IsNarrow())
            throw new ElementTypeException($"{operation}: {type} elements are not drawn. Draw Float32, and convert with To(ElementType.{type}).");
        return Allocate(shape, device ?? Device.Cpu, type);
    }
}
