using System.Runtime.CompilerServices;
using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Shapes that an operator can't take: the message names the operator, the shapes, the broken rule and a cure.</summary>
/// <param name="message">What was given and what was wanted.</param>
public sealed class ShapeException(string message) : ArgumentException(message);

/// <summary>Tensors of different devices met in one operator.</summary>
/// <param name="message">What was given and what was wanted.</param>
public sealed class DeviceMismatchException(string message) : ArgumentException(message);

/// <summary>An element type that an operator can't take.</summary>
/// <param name="message">What was given and what was wanted.</param>
public sealed class ElementTypeException(string message) : ArgumentException(message);

/// <summary>Backward passes or saved values that can't be had: a freed graph, a saved tensor changed in place, a wrong gradient.</summary>
/// <param name="message">What happened and how to mend it.</param>
public sealed class AutogradException(string message) : InvalidOperationException(message);

/// <summary>The checks that operators share; they alone throw for wrong tensors, kernels trust them.</summary>
internal static class Check
{
    public static void SameDevice(string operation, Tensor a, Tensor b)
    {
        if (!ReferenceEquals(a.Device, b.Device))
            throw new DeviceMismatchException($"{operation}: {a.Shape} is on {a.Device} and {b.Shape} on {b.Device}. Move one with To(device).");
    }

    public static void SameType(string operation, Tensor a, Tensor b)
    {
        if (a.ElementType != b.ElementType)
            throw new ElementTypeException($"{operation}: {a.Shape} is {a.ElementType} and {b.Shape} is {b.ElementType}. Convert one with To({a.ElementType}).");
    }

    /// <summary>Both on one device, of one floating type.</summary>
    public static void Alike(string operation, Tensor a, Tensor b)
    {
        SameDevice(operation, a, b);
        SameType(operation, a, b);
        Floating(operation, a);
    }

    public static void Floating(string operation, Tensor x)
    {
        if (x.ElementType == ElementType.Int32)
            throw new ElementTypeException($"{operation}: {x.Shape} is Int32, which is only moved and indexed by. Convert it with To(ElementType.Float32).");
        if (x.ElementType.IsNarrow())
            throw new ElementTypeException($"{operation}: {x.Shape} is {x.ElementType}, which is only stored and moved. Convert it with To(ElementType.Float32); products are computed in 16 bits by Autocast, of Float32 operands.");
    }

    public static void Integer(string operation, string role, Tensor x)
    {
        if (x.ElementType != ElementType.Int32)
            throw new ElementTypeException($"{operation}: {role} {x.Shape} is {x.ElementType}, wanted Int32. Make it from an int[], or convert it with To(ElementType.Int32).");
    }

    public static void Rank(string operation, string role, Tensor x, int rank, string axes)
    {
        if (x.Rank != rank)
            throw new ShapeException($"{operation}: {role} {x.Shape} has {x.Rank} axes, wanted {rank}: {axes}.");
    }

    public static void That(bool holds, string message)
    {
        if (!holds)
            throw new ShapeException(message);
    }

    /// <summary>As the other, with a text that is put together only where the rule is broken.</summary>
    public static void That(bool holds, [InterpolatedStringHandlerArgument(nameof(holds))] ref FailureText message)
    {
        if (!holds)
            throw new ShapeException(message.ToString());
    }
}

/// <summary>An interpolated text whose parts are not even computed where the rule that it speaks of holds.</summary>
[InterpolatedStringHandler]
internal ref struct FailureText
{
    private DefaultInterpolatedStringHandler text;

    public FailureText(int literalLength, int formattedCount, bool holds, out bool isWanted)
    {
        isWanted = !holds;
        text = holds ? default : new(literalLength, formattedCount);
    }

    public void AppendLiteral(string value) => text.AppendLiteral(value);

    public void AppendFormatted<T>(T value, string? format = null) => text.AppendFormatted(value, format);

    public override string ToString() => text.ToStringAndClear();
}
