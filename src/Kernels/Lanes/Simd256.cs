using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ILGPU;
using ILGPU.IR.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>A vector of 256 bits: a lane of the CPU's direct path. Its members are intrinsics to ILGPU, which must not translate them.</summary>
internal readonly struct Simd256<T>(Vector256<T> value) : ILane<Simd256<T>, T> where T : unmanaged
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    private readonly Vector256<T> value = value;

    public static int Width { [IntrinsicImplementation, MethodImpl(Inline)] get => Vector256<T>.Count; }

    public static int FractionBits { [IntrinsicImplementation, MethodImpl(Inline)] get => typeof(T) == typeof(float) ? 23 : 52; }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static ref U At<U>(ArrayView<U> view, int index) where U : unmanaged => ref Direct.At(ref view, index);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Load(ArrayView<T> view, int index) => new(Vector256.LoadUnsafe(ref Direct.At(ref view, index)));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> LoadNext(ArrayView<T> view, int index)
    {
        ref T first = ref Direct.At(ref view, index);
        Direct.PrefetchAhead(ref first);
        return new(Vector256.LoadUnsafe(ref first));
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Load(ArrayView<T> view, int index, int remaining, Simd256<T> fill) =>
        remaining >= Width ? Load(view, index) : LoadTail(ref Direct.At(ref view, index), remaining, fill);

    [IntrinsicImplementation]
    public static Simd256<T> Gather(ArrayView<T> view, int index, int stride, int remaining)
    {
        var value = Constant(1).value;
        for (int i = 0; i < Math.Min(Width, remaining); i++)
            Unsafe.Add(ref Unsafe.As<Vector256<T>, T>(ref value), i) = Direct.At(ref view, index + i * stride);
        return new(value);
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void Store(ArrayView<T> view, int index, Simd256<T> value) => value.value.StoreUnsafe(ref Direct.At(ref view, index));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void Store(ArrayView<T> view, int index, int remaining, Simd256<T> value)
    {
        if (remaining >= Width)
            Store(view, index, value);
        else
            StoreTail(ref Direct.At(ref view, index), remaining, value);
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void StoreIntegers(ArrayView<int> view, int index, int remaining, Simd256<T> value)
    {
        ref int destination = ref Direct.At(ref view, index);
        if (typeof(T) == typeof(float))
        {
            var integers = Vector256.ConvertToInt32(value.value.As<T, float>());
            if (remaining >= Width)
                integers.StoreUnsafe(ref destination);
            else
                Unsafe.CopyBlockUnaligned(ref Unsafe.As<int, byte>(ref destination), ref Unsafe.As<Vector256<int>, byte>(ref integers), (uint)(remaining * sizeof(int)));
            return;
        }
        for (int i = 0; i < Math.Min(Width, remaining); i++)
            Unsafe.Add(ref destination, i) = (int)value.value.As<T, double>()[i];
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Splat(T value) => new(Vector256.Create(value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Constant(double value) =>
        typeof(T) == typeof(float) ? new(Vector256.Create((float)value).As<float, T>()) : new(Vector256.Create(value).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Ramp() => new(Vector256<T>.Indices);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T First(Simd256<T> x) => x.value.ToScalar();

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> operator +(Simd256<T> a, Simd256<T> b) => new(a.value + b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> operator -(Simd256<T> a, Simd256<T> b) => new(a.value - b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> operator *(Simd256<T> a, Simd256<T> b) => new(a.value * b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> operator /(Simd256<T> a, Simd256<T> b) => new(a.value / b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> operator -(Simd256<T> a) => new(-a.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> MultiplyAdd(Simd256<T> a, Simd256<T> b, Simd256<T> c) => typeof(T) == typeof(float)
        ? new(Vector256.FusedMultiplyAdd(a.value.As<T, float>(), b.value.As<T, float>(), c.value.As<T, float>()).As<float, T>())
        : new(Vector256.FusedMultiplyAdd(a.value.As<T, double>(), b.value.As<T, double>(), c.value.As<T, double>()).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Abs(Simd256<T> x) => new(Vector256.Abs(x.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Sqrt(Simd256<T> x) => new(Vector256.Sqrt(x.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Floor(Simd256<T> x) => typeof(T) == typeof(float)
        ? new(Vector256.Floor(x.value.As<T, float>()).As<float, T>())
        : new(Vector256.Floor(x.value.As<T, double>()).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Min(Simd256<T> a, Simd256<T> b) => new(Vector256.Min(a.value, b.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Max(Simd256<T> a, Simd256<T> b) => new(Vector256.Max(a.value, b.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> IfLess(Simd256<T> a, Simd256<T> b, Simd256<T> then, Simd256<T> otherwise) =>
        new(Vector256.ConditionalSelect(Vector256.LessThan(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> IfLessOrEqual(Simd256<T> a, Simd256<T> b, Simd256<T> then, Simd256<T> otherwise) =>
        new(Vector256.ConditionalSelect(Vector256.LessThanOrEqual(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> IfEqual(Simd256<T> a, Simd256<T> b, Simd256<T> then, Simd256<T> otherwise) =>
        new(Vector256.ConditionalSelect(Vector256.Equals(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> PowerOfTwo(Simd256<T> n) => typeof(T) == typeof(float)
        ? new(((Vector256.ConvertToInt32Native(n.value.As<T, float>()) + Vector256.Create(127)) << 23).As<int, T>())
        : new(((Vector256.ConvertToInt64Native(n.value.As<T, double>()) + Vector256.Create(1023L)) << 52).As<long, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd256<T> Exponent(Simd256<T> x) => typeof(T) == typeof(float)
        ? new(Vector256.ConvertToSingle((x.value.As<T, int>() >> 23) - Vector256.Create(127)).As<float, T>())
        : new(Vector256.ConvertToDouble((x.value.As<T, long>() >> 52) - Vector256.Create(1023L)).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Sum(Simd256<T> x) => Vector256.Sum(x.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Product(Simd256<T> x) => Simd128<T>.Product(new(x.value.GetLower() * x.value.GetUpper()));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static bool IsOne(Simd256<T> x) => typeof(T) == typeof(float) ? (float)(object)x.value.ToScalar() == 1 : (double)(object)x.value.ToScalar() == 1;

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Largest(Simd256<T> x) => Simd128<T>.Largest(new(Vector128.Max(x.value.GetLower(), x.value.GetUpper())));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Smallest(Simd256<T> x) => Simd128<T>.Smallest(new(Vector128.Min(x.value.GetLower(), x.value.GetUpper())));

    private static Simd256<T> LoadTail(ref T source, int count, Simd256<T> fill)
    {
        var value = fill.value;
        Unsafe.CopyBlockUnaligned(ref Unsafe.As<Vector256<T>, byte>(ref value), ref Unsafe.As<T, byte>(ref source), (uint)(count * Unsafe.SizeOf<T>()));
        return new(value);
    }

    private static void StoreTail(ref T destination, int count, Simd256<T> x)
    {
        var value = x.value;
        Unsafe.CopyBlockUnaligned(ref Unsafe.As<T, byte>(ref destination), ref Unsafe.As<Vector256<T>, byte>(ref value), (uint)(count * Unsafe.SizeOf<T>()));
    }
}
