using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>One double: a lane of width 1, for a GPU thread and for ILGPU's CPU accelerator.</summary>
internal readonly struct Scalar64(double value) : ILane<Scalar64, double>
{
    private readonly double value = value;

    public static int Width => 1;

    public static int FractionBits => 52;

    public static ref U At<U>(ArrayView<U> view, int index) where U : unmanaged => ref view[index];

    public static Scalar64 Load(ArrayView<double> view, int index) => new(view[index]);

    public static Scalar64 LoadNext(ArrayView<double> view, int index) => new(view[index]);

    public static Scalar64 Load(ArrayView<double> view, int index, int remaining, Scalar64 fill) => new(view[index]);

    public static Scalar64 Gather(ArrayView<double> view, int index, int stride, int remaining) => new(view[index]);

    public static void Store(ArrayView<double> view, int index, Scalar64 value) => view[index] = value.value;

    public static void Store(ArrayView<double> view, int index, int remaining, Scalar64 value) => view[index] = value.value;

    public static void StoreIntegers(ArrayView<int> view, int index, int remaining, Scalar64 value) => view[index] = (int)value.value;

    public static Scalar64 Splat(double value) => new(value);

    public static Scalar64 Constant(double value) => new((double)value);

    public static Scalar64 Ramp() => new(0);

    public static double First(Scalar64 x) => x.value;

    public static Scalar64 operator +(Scalar64 a, Scalar64 b) => new(a.value + b.value);

    public static Scalar64 operator -(Scalar64 a, Scalar64 b) => new(a.value - b.value);

    public static Scalar64 operator *(Scalar64 a, Scalar64 b) => new(a.value * b.value);

    public static Scalar64 operator /(Scalar64 a, Scalar64 b) => new(a.value / b.value);

    public static Scalar64 operator -(Scalar64 a) => new(-a.value);

    public static Scalar64 MultiplyAdd(Scalar64 a, Scalar64 b, Scalar64 c) => new(a.value * b.value + c.value);

    public static Scalar64 Abs(Scalar64 x) => new(Math.Abs(x.value));

    public static Scalar64 Sqrt(Scalar64 x) => new(Math.Sqrt(x.value));

    public static Scalar64 Floor(Scalar64 x) => new(Math.Floor(x.value));

    public static Scalar64 Min(Scalar64 a, Scalar64 b) => a.value < b.value || IsNaN(a.value) ? a : b;

    public static Scalar64 Max(Scalar64 a, Scalar64 b) => a.value > b.value || IsNaN(a.value) ? a : b;

    public static Scalar64 IfLess(Scalar64 a, Scalar64 b, Scalar64 then, Scalar64 otherwise) => a.value < b.value ? then : otherwise;

    public static Scalar64 IfLessOrEqual(Scalar64 a, Scalar64 b, Scalar64 then, Scalar64 otherwise) => a.value <= b.value ? then : otherwise;

    public static Scalar64 IfEqual(Scalar64 a, Scalar64 b, Scalar64 then, Scalar64 otherwise) => a.value == b.value ? then : otherwise;

    public static Scalar64 PowerOfTwo(Scalar64 n) => new(BitConverter.Int64BitsToDouble(((long)n.value + 1023) << 52));

    public static Scalar64 Exponent(Scalar64 x) => new((BitConverter.DoubleToInt64Bits(x.value) >> 52) - 1023);

    public static double Sum(Scalar64 x) => x.value;

    public static double Product(Scalar64 x) => x.value;

    public static bool IsOne(Scalar64 x) => x.value == 1;

    public static double Largest(Scalar64 x) => x.value;

    public static double Smallest(Scalar64 x) => x.value;

    // Written out, as a compiler of GPU code may take x != x for false.
    private static bool IsNaN(double x) => double.IsNaN(x);
}
