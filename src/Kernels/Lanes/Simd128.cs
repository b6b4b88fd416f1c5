using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ILGPU;
using ILGPU.IR.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>A vector of 128 bits: a lane of the CPU's direct path. Its members are intrinsics to ILGPU, which must not translate them.</summary>
internal readonly struct Simd128<T>(Vector128<T> value) : ILane<Simd128<T>, T> where T : unmanaged
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    private readonly Vector128<T> value = value;

    public static int Width { [IntrinsicImplementation, MethodImpl(Inline)] get => Vector128<T>.Count; }

    public static int FractionBits { [IntrinsicImplementation, MethodImpl(Inline)] get => typeof(T) == typeof(float) ? 23 : 52; }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static ref U At<U>(ArrayView<U> view, int index) where U : unmanaged => ref Direct.At(ref view, index);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Load(ArrayView<T> view, int index) => new(Vector128.LoadUnsafe(ref Direct.At(ref view, index)));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> LoadNext(ArrayView<T> view, int index)
    {
        ref T first = ref Direct.At(ref view, index);
        Direct.PrefetchAhead(ref first);
        return new(Vector128.LoadUnsafe(ref first));
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Load(ArrayView<T> view, int index, int remaining, Simd128<T> fill) =>
        remaining >= Width ? Load(view, index) : LoadTail(ref Direct.At(ref view, index), remaining, fill);

    [IntrinsicImplementation]
    public static Simd128<T> Gather(ArrayView<T> view, int index, int stride, int remaining)
    {
        var value = Constant(1).value;
        for (int i = 0; i < Math.Min(Width, remaining); i++)
            Unsafe.Add(ref Unsafe.As<Vector128<T>, T>(ref value), i) = Direct.At(ref view, index + i * stride);
        return new(value);
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void Store(ArrayView<T> view, int index, Simd128<T> value) => value.value.StoreUnsafe(ref Direct.At(ref view, index));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void Store(ArrayView<T> view, int index, int remaining, Simd128<T> value)
    {
        if (remaining >= Width)
            Store(view, index, value);
        else
            StoreTail(ref Direct.At(ref view, index), remaining, value);
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void StoreIntegers(ArrayView<int> view, int index, int remaining, Simd128<T> value)
    {
        ref int destination = ref Direct.At(ref view, index);
        if (typeof(T) == typeof(float))
        {
            var integers = Vector128.ConvertToInt32(value.value.As<T, float>());
            if (remaining >= Width)
                integers.StoreUnsafe(ref destination);
            else
                Unsafe.CopyBlockUnaligned(ref Unsafe.As<int, byte>(ref destination), ref Unsafe.As<Vector128<int>, byte>(ref integers), (uint)(remaining * sizeof(int)));
            return;
        }
        for (int i = 0; i < Math.Min(Width, remaining); i++)
            Unsafe.Add(ref destination, i) = (int)value.value.As<T, double>()[i];
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Splat(T value) => new(Vector128.Create(value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Constant(double value) =>
        typeof(T) == typeof(float) ? new(Vector128.Create((float)value).As<float, T>()) : new(Vector128.Create(value).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Ramp() => new(Vector128<T>.Indices);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T First(Simd128<T> x) => x.value.ToScalar();

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> operator +(Simd128<T> a, Simd128<T> b) => new(a.value + b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> operator -(Simd128<T> a, Simd128<T> b) => new(a.value - b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> operator *(Simd128<T> a, Simd128<T> b) => new(a.value * b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> operator /(Simd128<T> a, Simd128<T> b) => new(a.value / b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> operator -(Simd128<T> a) => new(-a.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> MultiplyAdd(Simd128<T> a, Simd128<T> b, Simd128<T> c) => typeof(T) == typeof(float)
        ? new(Vector128.MultiplyAddEstimate(a.value.As<T, float>(), b.value.As<T, float>(), c.value.As<T, float>()).As<float, T>())
        : new(Vector128.MultiplyAddEstimate(a.value.As<T, double>(), b.value.As<T, double>(), c.value.As<T, double>()).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Abs(Simd128<T> x) => new(Vector128.Abs(x.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Sqrt(Simd128<T> x) => new(Vector128.Sqrt(x.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Floor(Simd128<T> x) => typeof(T) == typeof(float)
        ? new(Vector128.Floor(x.value.As<T, float>()).As<float, T>())
        : new(Vector128.Floor(x.value.As<T, double>()).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Min(Simd128<T> a, Simd128<T> b) => new(Vector128.Min(a.value, b.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Max(Simd128<T> a, Simd128<T> b) => new(Vector128.Max(a.value, b.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> IfLess(Simd128<T> a, Simd128<T> b, Simd128<T> then, Simd128<T> otherwise) =>
        new(Vector128.ConditionalSelect(Vector128.LessThan(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> IfLessOrEqual(Simd128<T> a, Simd128<T> b, Simd128<T> then, Simd128<T> otherwise) =>
        new(Vector128.ConditionalSelect(Vector128.LessThanOrEqual(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> IfEqual(Simd128<T> a, Simd128<T> b, Simd128<T> then, Simd128<T> otherwise) =>
        new(Vector128.ConditionalSelect(Vector128.Equals(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> PowerOfTwo(Simd128<T> n) => typeof(T) == typeof(float)
        ? new(((Vector128.ConvertToInt32Native(n.value.As<T, float>()) + Vector128.Create(127)) << 23).As<int, T>())
        : new(((Vector128.ConvertToInt64Native(n.value.As<T, double>()) + Vector128.Create(1023L)) << 52).As<long, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd128<T> Exponent(Simd128<T> x) => typeof(T) == typeof(float)
        ? new(Vector128.ConvertToSingle((x.value.As<T, int>() >> 23) - Vector128.Create(127)).As<float, T>())
        : new(Vector128.ConvertToDouble((x.value.As<T, long>() >> 52) - Vector128.Create(1023L)).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Sum(Simd128<T> x) => Vector128.Sum(x.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Product(Simd128<T> x)
    {
        var y = x.value * Vector128.Shuffle(x.value.AsInt64(), Vector128.Create(1L, 0)).As<long, T>();
        return typeof(T) == typeof(float) ? (y * Vector128.Shuffle(y.AsInt32(), Vector128.Create(1, 0, 3, 2)).As<int, T>()).ToScalar() : y.ToScalar();
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static bool IsOne(Simd128<T> x) => typeof(T) == typeof(float) ? (float)(object)x.value.ToScalar() == 1 : (double)(object)x.value.ToScalar() == 1;

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Largest(Simd128<T> x)
    {
        // Halves against each other, then neighbours: every place has met every other.
        var y = Vector128.Max(x.value, Vector128.Shuffle(x.value.AsInt64(), Vector128.Create(1L, 0)).As<long, T>());
        return typeof(T) == typeof(float)
            ? Vector128.Max(y, Vector128.Shuffle(y.AsInt32(), Vector128.Create(1, 0, 3, 2)).As<int, T>()).ToScalar()
            : y.ToScalar();
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Smallest(Simd128<T> x)
    {
        // Halves against each other, then neighbours: every place has met every other.
        var y = Vector128.Min(x.value, Vector128.Shuffle(x.value.AsInt64(), Vector128.Create(1L, 0)).As<long, T>());
        return typeof(T) == typeof(float)
            ? Vector128.Min(y, Vector128.Shuffle(y.AsInt32(), Vector128.Create(1, 0, 3, 2)).As<int, T>()).ToScalar()
            : y.ToScalar();
    }

    private static Simd128<T> LoadTail(ref T source, int count, Simd128<T> fill)
    {
        var value = fill.value;
        Unsafe.CopyBlockUnaligned(ref Unsafe.As<Vector128<T>, byte>(ref value), ref Unsafe.As<T, byte>(ref source), (uint)(count * Unsafe.SizeOf<T>()));
        return new(value);
    }

    private static void StoreTail(ref T destination, int count, Simd128<T> x)
    {
        var value = x.value;
        Unsafe.CopyBlockUnaligned(ref Unsafe.As<T, byte>(ref destination), ref Unsafe.As<Vector128<T>, byte>(ref value), (uint)(count * Unsafe.SizeOf<T>()));
    }
}
