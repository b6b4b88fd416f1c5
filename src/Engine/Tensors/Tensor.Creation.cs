using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>Makes a tensor of the values, in the order of the axes.</summary>
    /// <typeparam name="T">float, double, int, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="values">As many as <paramref name="shape"/> has elements.</param>
    /// <param name="shape">The shape.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <exception cref="ShapeException">The number of values is not that of the shape.</exception>
    public static Tensor From<T>(ReadOnlySpan<T> values, Shape shape, Device? device = null) where T : unmanaged
    {
        Check.That(values.Length == shape.Elements, $"Tensor.From: {values.Length:N0} values do not fill {shape}, which has {shape.Elements:N0} elements.");
        var tensor = Allocate(shape, device ?? Device.Cpu, ElementTypes.Of<T>());
        tensor.Device.Compute.CopyIn(values, tensor.Slice);
        return tensor;
    }

    /// <inheritdoc cref="From{T}(ReadOnlySpan{T}, Shape, Device?)"/>
    public static Tensor From<T>(T[] values, Shape shape, Device? device = null) where T : unmanaged => From<T>(values.AsSpan(), shape, device);

    /// <summary>Makes a tensor of one axis.</summary>
    /// <inheritdoc cref="From{T}(ReadOnlySpan{T}, Shape, Device?)"/>
    public static Tensor From<T>(T[] values, Device? device = null) where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(values);
        return From<T>(values.AsSpan(), [values.Length], device);
    }

    /// <summary>Makes a scalar.</summary>
    /// <typeparam name="T">float, double, int, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="value">The value.</param>
    /// <param name="device">Where; the CPU if null.</param>
    public static Tensor Scalar<T>(T value, Device? device = null) where T : unmanaged => From<T>([value], [], device);

    /// <summary>Makes a tensor whose elements are all <paramref name="value"/>.</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="value">The value; rounded to the type.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public static Tensor Full(Shape shape, double value, Device? device = null, ElementType type = ElementType.Float32)
    {
        var tensor = Allocate(shape, device ?? Device.Cpu, type);
        tensor.Write(value);
        return tensor;
    }

    /// <summary>Makes a tensor of zeros.</summary>
    /// <inheritdoc cref="Full"/>
    public static Tensor Zeros(Shape shape, Device? device = null, ElementType type = ElementType.Float32) => Full(shape, 0, device, type);

    /// <summary>Makes a tensor of ones.</summary>
    /// <inheritdoc cref="Full"/>
    public static Tensor Ones(Shape shape, Device? device = null, ElementType type = ElementType.Float32) => Full(shape, 1, device, type);

    /// <summary>Makes the numbers from <paramref name="start"/>, <paramref name="step"/> apart, up to and without <paramref name="end"/>.</summary>
    /// <param name="start">The first.</param>
    /// <param name="end">Where it stops.</param>
    /// <param name="step">The distance; not 0.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ArgumentOutOfRangeException">The step is 0, or there is no end to the numbers, or they are none.</exception>
    /// <exception cref="ShapeException">There are more numbers than a tensor holds.</exception>
    public static Tensor Arange(double start, double end, double step = 1, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfZero(step);
        double count = Math.Max(0, Math.Ceiling((end - start) / step));
        if (!double.IsFinite(count))
            throw new ArgumentOutOfRangeException(nameof(end), end, $"Arange: from {start} to {end} in steps of {step} there is no finite count of numbers.");
        Check.That(count <= Array.MaxLength, $"Arange: from {start} to {end} in steps of {step} there are {count:N0} numbers, more than a tensor takes. Use a larger step.");
        int n = (int)count;
        return FromDoubles([.. Enumerable.Range(0, n).Select(i => start + i * step)], [n], device ?? Device.Cpu, type);
    }

    /// <summary>Makes the identity matrix [n, n].</summary>
    /// <param name="n">The number of rows.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ShapeException">It is negative, or there are more elements than a tensor holds.</exception>
    public static Tensor Eye(int n, Device? device = null, ElementType type = ElementType.Float32)
    {
        var values = new double[new Shape(n, n).Elements];
        for (int i = 0; i < n; i++)
            values[i * n + i] = 1;
        return FromDoubles(values, [n, n], device ?? Device.Cpu, type);
    }

    /// <summary>Copies the elements to an array, in the order of the axes; waits for the device.</summary>
    /// <typeparam name="T">The type that stands for <see cref="ElementType"/>: float, double, int, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <exception cref="ElementTypeException">T is another type than the elements'.</exception>
    public T[] ToArray<T>() where T : unmanaged
    {
        var values = new T[Elements];
        CopyTo(values.AsSpan());
        return values;
    }

    /// <summary>Copies the elements out, in the order of the axes; waits for the device.</summary>
    /// <typeparam name="T">The type that stands for <see cref="ElementType"/>: float, double, int, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="destination">At least as long as there are elements.</param>
    /// <exception cref="ElementTypeException">T is another type than the elements'.</exception>
    /// <exception cref="ShapeException">The destination is too short.</exception>
    public void CopyTo<T>(Span<T> destination) where T : unmanaged
    {
        if (ElementTypes.Of<T>() != ElementType)
            throw new ElementTypeException($"ToArray: {Shape} is {ElementType}, asked for as {typeof(T).Name}. Convert it first with To(...).");
        Check.That(destination.Length >= Elements, $"CopyTo: {destination.Length:N0} places do not hold the {Elements:N0} elements of {Shape}.");
        using var dense = new Dense(this);
        Device.Compute.CopyOut(dense.Slice, destination[..Elements]);
    }

    /// <summary>The value of a tensor of one element, as a double; waits for the device.</summary>
    /// <exception cref="ShapeException">There is not exactly one element.</exception>
    public double Item()
    {
        Check.That(Elements == 1, $"Item: {Shape} has {Elements:N0} elements, wanted 1. Use ToArray.");
        var compute = Device.Compute;
        switch (ElementType)
        {
            case ElementType.Float32:
                float single = 0;
                compute.CopyOut(Slice, new Span<float>(ref single));
                return single;
            case ElementType.Float64:
                double wide = 0;
                compute.CopyOut(Slice, new Span<double>(ref wide));
                return wide;
            case ElementType.Float16:
                Half half = default;
                compute.CopyOut(Slice, new Span<Half>(ref half));
                return (double)half;
            case ElementType.BFloat16:
                BFloat16 brief = default;
                compute.CopyOut(Slice, new Span<BFloat16>(ref brief));
                return brief;
            default:
                int whole = 0;
                compute.CopyOut(Slice, new Span<int>(ref whole));
                return whole;
        }
    }

    /// <summary>The same elements on another device; this tensor if it is there already. A gradient flows back.</summary>
    /// <param name="device">Where.</param>
    public Tensor To(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (ReferenceEquals(device, Device))
            return this;
        var y = Allocate(Shape, device, ElementType);
        switch (ElementType)
        {
            case ElementType.Float32: Send<float>(y); break;
            case ElementType.Float64: Send<double>(y); break;
            case ElementType.Float16: Send<Half>(y); break;
            case ElementType.BFloat16: Send<BFloat16>(y); break;
            default: Send<int>(y); break;
        }
        var home = Device;
        return Graph.Record("To", y, [this], [], (gradient, _) => [gradient.To(home)]);
    }

    /// <summary>
    /// The same elements in another type; this tensor if it has it already. A gradient flows back between floating types, and is Float32 where the elements have 16 bits.
    /// </summary>
    /// <param name="type">
    /// The type. Towards Int32 fractions are cut; what it does not hold becomes the nearest it does, NaN 0. Towards other types elements are rounded to the nearest, of two
    /// equally near to the one whose last bit is 0, whatever the device.
    /// </param>
    public Tensor To(ElementType type)
    {
        if (type == ElementType)
            return this;
        var y = Allocate(Shape, Device, type);
        using (var x = new Dense(this))
            Conversion.Run(Device.Compute, x.Slice, y.Slice);
        var own = GradientType;
        return type == ElementType.Int32 || own == ElementType.Int32 ? y : Graph.Record("To", y, [this], [], (gradient, _) => [gradient.To(own)]);
    }

    /// <summary>Makes a tensor of doubles rounded to the type.</summary>
    internal static Tensor FromDoubles(double[] values, Shape shape, Device device, ElementType type) => type switch
    {
        ElementType.Float64 => From(values, shape, device),
        ElementType.Float32 => From(Array.ConvertAll(values, v => (float)v), shape, device),
        ElementType.Float16 => From(Array.ConvertAll(values, v => (Half)v), shape, device),
        ElementType.BFloat16 => From(Array.ConvertAll(values, v => (BFloat16)v), shape, device),
        _ => From(Array.ConvertAll(values, v => (int)v), shape, device),
    };

    private unsafe void Send<T>(Tensor y) where T : unmanaged
    {
        if (Device.Compute.IsDirect && IsContiguous)
            y.Device.Compute.CopyIn(new ReadOnlySpan<T>(Slice.Pointer<T>(), Elements), y.Slice);
        else
            y.Device.Compute.CopyIn<T>(ToArray<T>(), y.Slice);
        GC.KeepAlive(this);
    }

    /// <summary>Writes one value everywhere, outside any graph; for new contiguous tensors.</summary>
    internal void Write(double value) => Movement.Fill(Device.Compute, Slice, value);
}
